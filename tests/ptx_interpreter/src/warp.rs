//! A warp: 32 lanes, each at an instruction of its own; those at the same one run together.

use crate::instruction::{Address, Instruction, Kind, Product, Shuffle, Sum, Warpgroup, WarpgroupProduct};
use crate::lanes::{Longs, Words};
use crate::memory::{Heap, Party, Shared};
use crate::module::Entry;
use crate::registers::{Constant, Long, Word};
use crate::warpgroup::{Products, Step, Warpgroups};

const ALL: u32 = u32::MAX;

/// Lanes at the same instruction.
#[derive(Clone, Copy)]
struct Group {
    at: u32,
    lanes: u32,
    /// For lanes that are elsewhere.
    waits: bool,
}

/// A copy to shared memory on its way.
struct Copy {
    lane: u32,
    /// The lane's group of copies, counted from 0.
    group: u32,
    to: u32,
    from: u64,
    words: u32,
    /// Those from here on are 0.
    read: u32,
}

/// Why a warp does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// At a barrier of the block.
    Barrier,
    /// All its lanes have come to the end.
    Ended,
    /// It has had its turn.
    Turn,
}

/// What a warp did wrong.
pub struct Wrong {
    /// At which instruction.
    pub at: u32,
    /// In which lane, if in one.
    pub lane: Option<u32>,
    /// What.
    pub what: String,
}

/// Where a launch's constants come from.
pub struct Launch<'a> {
    /// The bits of each parameter.
    pub parameters: &'a [u64],
    /// Sides of the grid.
    pub grid: [u32; 3],
    /// Sides of a block.
    pub threads: [u32; 3],
    /// Where dynamic shared memory begins.
    pub dynamic_shared: u32,
}

/// What a warp has around it.
pub struct Around<'a> {
    /// The block's shared memory.
    pub shared: &'a mut Shared,
    /// What its warps have done together.
    pub warpgroups: &'a mut Warpgroups,
    /// Global memory.
    pub heap: &'a mut Heap,
    /// Who the block is.
    pub party: Party,
    /// Which instructions have run for some lane.
    pub ran: &'a mut [bool],
}

/// A warp.
pub struct Warp {
    /// Its number in the block.
    number: u32,
    words: Vec<Words>,
    longs: Vec<Longs>,
    predicates: Vec<u32>,
    carry: u32,
    /// Lanes that are threads.
    threads: u32,
    /// Those that have not ended, by where they are, the last group the foremost in the text.
    groups: Vec<Group>,
    copies: Vec<Copy>,
    /// Groups of copies so far, of each lane.
    committed: Words,
    /// Those of the warpgroup on their way.
    products: Products,
    /// Instructions that it may still run.
    patience: u64,
}

/// Lanes of a mask.
fn lanes(mask: u32) -> impl Iterator<Item = usize> {
    (0..32).filter(move |lane| mask >> lane & 1 == 1)
}

/// A register's new value, in some lanes.
fn put<T: std::marker::Copy>(to: &mut [T; 32], from: [T; 32], mask: u32) {
    if mask == ALL {
        *to = from;
    } else {
        lanes(mask).for_each(|lane| to[lane] = from[lane]);
    }
}

impl Warp {
    /// The warp of this number, of the block at `block`, before its first instruction, of which it may run so many.
    pub fn new(entry: &Entry, launch: &Launch, block: [u32; 3], number: u32, patience: u64) -> Warp {
        let threads: u32 = launch.threads.iter().product();
        let first = number * 32;
        let mask = if threads - first >= 32 { ALL } else { (1 << (threads - first)) - 1 };
        let value = |constant: Constant, lane: usize| {
            let thread = first + lane as u32;
            let [x, y, _] = launch.threads;
            match constant {
                Constant::Number(number) => number,
                Constant::Parameter(index) => launch.parameters[index],
                Constant::DynamicShared => u64::from(launch.dynamic_shared),
                Constant::Thread(axis) => u64::from([thread % x, thread / x % y, thread / x / y][axis]),
                Constant::Block(axis) => u64::from(block[axis]),
                Constant::BlockSize(axis) => u64::from(launch.threads[axis]),
                Constant::GridSize(axis) => u64::from(launch.grid[axis]),
                Constant::Lane => lane as u64,
            }
        };
        let registers = &entry.registers;
        // Registers that were never written hold what no kernel is glad of; predicates are false.
        let mut words = vec![[0x7fc0_beef; 32]; registers.words as usize];
        let mut longs = vec![[0xdead_beef_dead_beef; 32]; registers.longs as usize];
        for &(register, constant) in &registers.word_constants {
            words[register as usize] = std::array::from_fn(|lane| value(constant, lane) as u32);
        }
        for &(register, constant) in &registers.long_constants {
            longs[register as usize] = std::array::from_fn(|lane| value(constant, lane));
        }
        Warp {
            number,
            words,
            longs,
            predicates: vec![0; registers.predicates as usize],
            carry: 0,
            threads: mask,
            groups: vec![Group { at: 0, lanes: mask, waits: false }],
            copies: Vec::new(),
            committed: [0; 32],
            products: Products::default(),
            patience,
        }
    }

    /// Runs until something keeps it from going on, or for so many instructions.
    pub fn run(&mut self, code: &[Instruction], around: &mut Around, turn: u64) -> Result<Stop, Wrong> {
        for _ in 0..turn {
            if self.groups.is_empty() {
                return self.end();
            }
            let place = self.groups.iter().rposition(|group| !group.waits);
            let Some(place) = place else {
                let group = self.groups[self.groups.len() - 1];
                let what = format!(
                    "lanes {:#010x} wait here for lanes that are elsewhere: {}",
                    group.lanes,
                    self.elsewhere(code)
                );
                return Err(Wrong { at: group.at, lane: None, what });
            };
            let group = self.groups[place];
            let Some(instruction) = code.get(group.at as usize) else {
                let (at, what) = (group.at - 1, "the kernel has no end".to_owned());
                return Err(Wrong { at, lane: None, what });
            };
            let guard = instruction.guard.map_or(ALL, |(predicate, holds)| {
                let holding = self.predicates[predicate as usize];
                if holds { holding } else { !holding }
            });
            let active = group.lanes & guard;
            let Some(left) = self.patience.checked_sub(1) else {
                let what = "the kernel does not come to an end".to_owned();
                return Err(Wrong { at: group.at, lane: None, what });
            };
            self.patience = left;
            if active != 0 {
                around.ran[group.at as usize] = true;
            }
            let wrong = |what| Wrong { at: group.at, lane: None, what };
            match instruction.kind {
                Kind::Branch(target) => {
                    self.groups[place] = Group { at: target, lanes: active, waits: false };
                    self.groups.push(Group { at: group.at + 1, lanes: group.lanes & !active, waits: false });
                    self.gather();
                    continue;
                }
                Kind::Exit => {
                    self.groups[place] =
                        Group { at: group.at + 1, lanes: group.lanes & !active, waits: false };
                    // Who waits for these waits in vain.
                    self.groups.iter_mut().for_each(|group| group.waits = false);
                    self.gather();
                    continue;
                }
                Kind::Trap if active != 0 => {
                    return Err(Wrong {
                        at: group.at,
                        lane: lanes(active).next().map(|lane| lane as u32),
                        what: "a trap: a check of the kernel's own failed".to_owned(),
                    });
                }
                _ => {}
            }
            let meets =
                if active == 0 { None } else { self.meets(&instruction.kind, active).map_err(wrong)? };
            if let Some(needed) = meets {
                if active != group.lanes {
                    return Err(wrong("of lanes that meet others some have a guard".to_owned()));
                }
                let ended = self.threads & !self.groups.iter().fold(0, |all, group| all | group.lanes);
                if needed & ended != 0 {
                    return Err(wrong(format!("waits for lanes {:#010x}, which have ended", needed & ended)));
                }
                if needed & !group.lanes != 0 {
                    self.groups[place].waits = true;
                    continue;
                }
                // The others of the group, whom nobody waits for, cannot be here.
                if group.lanes & !needed != 0 {
                    return Err(wrong(format!("lanes {:#010x} are not in the mask", group.lanes & !needed)));
                }
            }
            let done = match &instruction.kind {
                _ if active == 0 => Ok(()),
                Kind::Warpgroup(part) => {
                    self.with_warpgroup(part, group.at, around).map_err(|what| (0, what))
                }
                kind => self.execute(kind, active, around),
            };
            done.map_err(|(lane, what)| Wrong { at: group.at, lane: Some(lane), what })?;
            self.groups[place].at += 1;
            if self.groups.len() > 1 {
                self.gather();
            }
            if let (Kind::Barrier, true) = (&instruction.kind, active != 0) {
                return Ok(Stop::Barrier);
            }
        }
        Ok(Stop::Turn)
    }

    /// All lanes have come to the end.
    fn end(&self) -> Result<Stop, Wrong> {
        match self.products.first() {
            None => Ok(Stop::Ended),
            Some(at) => {
                let what = "the warp ends and has not waited for this product".to_owned();
                Err(Wrong { at, lane: None, what })
            }
        }
    }

    /// The instruction before the one that comes next.
    pub fn before(&self) -> u32 {
        self.groups.last().map_or(0, |group| group.at.saturating_sub(1))
    }

    /// Where groups are that have not all lanes.
    fn elsewhere(&self, code: &[Instruction]) -> String {
        let place =
            |group: &Group| format!("{:#010x} at line {}", group.lanes, code[group.at as usize].line + 1);
        self.groups.iter().map(place).collect::<Vec<_>>().join(", ")
    }

    /// Brings together what is at the same instruction, the foremost last.
    fn gather(&mut self) {
        self.groups.retain(|group| group.lanes != 0);
        self.groups.sort_by_key(|group| std::cmp::Reverse(group.at));
        self.groups.dedup_by(|group, before| {
            let same = group.at == before.at;
            if same {
                before.lanes |= group.lanes;
                before.waits = false;
            }
            same
        });
    }

    /// The lanes that have to come to this instruction together.
    fn meets(&self, kind: &Kind, lanes: u32) -> Result<Option<u32>, String> {
        let mask = |register: Word| {
            let masks = &self.words[register as usize];
            let mut told = self::lanes(lanes).map(|lane| masks[lane]);
            let mask = told.next().unwrap_or(0);
            if told.all(|other| other == mask) {
                Ok(mask)
            } else {
                Err("lanes have several masks".to_owned())
            }
        };
        Ok(match *kind {
            // `.aligned`, all of them: every thread of the warp.
            Kind::Barrier => Some(self.threads),
            Kind::Product { .. } | Kind::LoadMatrices { .. } | Kind::Warpgroup(_) => Some(ALL),
            Kind::WarpBarrier { mask: register }
            | Kind::Shuffle { mask: register, .. }
            | Kind::Ballot { mask: register, .. } => {
                let mask = mask(register)?;
                if mask & !self.threads != 0 && mask != ALL {
                    return Err(format!("the mask {mask:#010x} has lanes that are no threads"));
                }
                Some(mask & self.threads)
            }
            _ => None,
        })
    }

    /// Does it, for the lanes of `mask`.
    fn execute(&mut self, kind: &Kind, mask: u32, around: &mut Around) -> Result<(), (u32, String)> {
        let Warp { words, longs, predicates, .. } = self;
        let word = |register: Word| register as usize;
        macro_rules! set {
            ($bank:ident[$register:expr] = $value:expr) => {{
                let value = $value;
                put(&mut $bank[$register as usize], value, mask);
            }};
        }
        macro_rules! decide {
            ($register:expr, $value:expr) => {{
                let value = $value;
                let old = &mut predicates[$register as usize];
                *old = *old & !mask | value & mask;
            }};
        }
        match *kind {
            Kind::Word1(does, d, a) => set!(words[d] = does(&words[word(a)])),
            Kind::Word2(does, d, a, b) => set!(words[d] = does(&words[word(a)], &words[word(b)])),
            Kind::Word3(does, d, a, b, c) => {
                set!(words[d] = does(&words[word(a)], &words[word(b)], &words[word(c)]));
            }
            Kind::Long1(does, d, a) => set!(longs[d] = does(&longs[word(a)])),
            Kind::Long2(does, d, a, b) => set!(longs[d] = does(&longs[word(a)], &longs[word(b)])),
            Kind::Long3(does, d, a, b, c) => {
                set!(longs[d] = does(&longs[word(a)], &longs[word(b)], &longs[word(c)]));
            }
            Kind::LongByWord(does, d, a, b) => set!(longs[d] = does(&longs[word(a)], &words[word(b)])),
            Kind::LongField(does, d, a, b, c) => {
                set!(longs[d] = does(&longs[word(a)], &words[word(b)], &words[word(c)]));
            }
            Kind::Widen1(does, d, a) => set!(longs[d] = does(&words[word(a)])),
            Kind::Widen2(does, d, a, b) => set!(longs[d] = does(&words[word(a)], &words[word(b)])),
            Kind::Narrow(does, d, a) => set!(words[d] = does(&longs[word(a)])),
            Kind::TestWords(does, d, a, b) => decide!(d, does(&words[word(a)], &words[word(b)])),
            Kind::TestLongs(does, d, a, b) => decide!(d, does(&longs[word(a)], &longs[word(b)])),
            Kind::Predicate2(does, d, a, b) => decide!(d, does(predicates[word(a)], predicates[word(b)])),
            Kind::SetPredicate(d, holds) => decide!(d, if holds { ALL } else { 0 }),
            Kind::ChooseWord(d, a, b, p) => {
                let mut chosen = words[word(b)];
                put(&mut chosen, words[word(a)], predicates[word(p)]);
                set!(words[d] = chosen);
            }
            Kind::ChooseLong(d, a, b, p) => {
                let mut chosen = longs[word(b)];
                put(&mut chosen, longs[word(a)], predicates[word(p)]);
                set!(longs[d] = chosen);
            }
            Kind::AddCarry { takes, result, a, b } => {
                let before = if takes { self.carry } else { 0 };
                let (mut sum, mut carry) = ([0; 32], 0);
                for lane in 0..32 {
                    let (a, b) = (u128::from(longs[word(a)][lane]), u128::from(longs[word(b)][lane]));
                    let wide = a + b + u128::from(before >> lane & 1);
                    sum[lane] = wide as u64;
                    carry |= ((wide >> 64) as u32) << lane;
                }
                set!(longs[result] = sum);
                self.carry = self.carry & !mask | carry & mask;
            }
            Kind::Halves { low, high, a } => {
                let from = words[word(a)];
                set!(words[low] = from.map(|word| word & 0xffff));
                set!(words[high] = from.map(|word| word >> 16));
            }
            Kind::LoadGlobal { to, from } => {
                for lane in lanes(mask) {
                    let address = global(longs, from, lane, to.length)?;
                    for (index, &register) in to.registers[..to.length].iter().enumerate() {
                        let value = around.heap.load(address + 4 * index as u64, around.party);
                        words[word(register)][lane] = value.map_err(|what| (lane as u32, what))?;
                    }
                }
            }
            Kind::LoadGlobalLong { to, from } => {
                for lane in lanes(mask) {
                    let address = global(longs, from, lane, 1)?;
                    let value = around.heap.load(address, around.party);
                    longs[word(to)][lane] = u64::from(value.map_err(|what| (lane as u32, what))?);
                }
            }
            Kind::StoreGlobal { to, from } => {
                for lane in lanes(mask) {
                    let address = global(longs, to, lane, from.length)?;
                    for (index, &register) in from.registers[..from.length].iter().enumerate() {
                        let value = words[word(register)][lane];
                        let stored = around.heap.store(address + 4 * index as u64, value, around.party);
                        stored.map_err(|what| (lane as u32, what))?;
                    }
                }
            }
            Kind::LoadShared { to, from } => {
                for lane in lanes(mask) {
                    let address = shared(words, from, lane, to.length)?;
                    for (index, &register) in to.registers[..to.length].iter().enumerate() {
                        let value = around.shared.load(address + 4 * index as u32, self.number);
                        words[word(register)][lane] = value.map_err(|what| (lane as u32, what))?;
                    }
                }
            }
            Kind::StoreShared { to, from } => {
                for lane in lanes(mask) {
                    let address = shared(words, to, lane, from.length)?;
                    for (index, &register) in from.registers[..from.length].iter().enumerate() {
                        let value = words[word(register)][lane];
                        let stored = around.shared.store(address + 4 * index as u32, value, self.number);
                        stored.map_err(|what| (lane as u32, what))?;
                    }
                }
            }
            Kind::Atomic { sum, old, to, value } => {
                for lane in lanes(mask) {
                    let address = global(longs, to, lane, 1)?;
                    let value = words[word(value)][lane];
                    let add = |old: u32| match sum {
                        Sum::Whole => old.wrapping_add(value),
                        Sum::Float => (f32::from_bits(old) + f32::from_bits(value)).to_bits(),
                    };
                    words[word(old)][lane] =
                        around.heap.update(address, add).map_err(|what| (lane as u32, what))?;
                }
            }
            Kind::Copy { bytes, to, from, size } => {
                for lane in lanes(mask) {
                    let to = shared(words, to, lane, bytes as usize / 4)?;
                    let from = global(longs, from, lane, bytes as usize / 4)?;
                    let read = words[word(size)][lane];
                    if read > bytes || read % 4 != 0 {
                        return Err((lane as u32, format!("a copy of {bytes} bytes that reads {read}")));
                    }
                    for word in 0..bytes / 4 {
                        let begun = around.shared.begin_copy(to + 4 * word, self.number);
                        begun.map_err(|what| (lane as u32, what))?;
                    }
                    for word in 0..read / 4 {
                        let there = around.heap.load(from + 4 * u64::from(word), around.party);
                        there.map_err(|what| (lane as u32, what))?;
                    }
                    let (words, read, group) = (bytes / 4, read / 4, self.committed[lane]);
                    self.copies.push(Copy { lane: lane as u32, group, to, from, words, read });
                }
            }
            Kind::CopyCommit => lanes(mask).for_each(|lane| self.committed[lane] += 1),
            Kind::CopyWait(left) => return self.wait(left, mask, around),
            // Whoever comes here has met the others.
            Kind::Barrier | Kind::WarpBarrier { .. } => {}
            Kind::Shuffle { how, result, value, lane: other, clamp, .. } => {
                let mut taken = [0; 32];
                for lane in lanes(mask) {
                    let source = source(how, lane as u32, words[word(other)][lane], words[word(clamp)][lane]);
                    if mask >> source & 1 == 0 {
                        return Err((
                            lane as u32,
                            format!("takes a value from lane {source}, which gives none"),
                        ));
                    }
                    taken[lane] = words[word(value)][source as usize];
                }
                set!(words[result] = taken);
            }
            Kind::Ballot { result, vote, .. } => {
                let votes = predicates[word(vote)] & mask;
                set!(words[result] = [votes; 32]);
            }
            Kind::LoadMatrices { to, transposed, from } => {
                let mut rows = [[0; 4]; 32];
                for (lane, row) in rows.iter_mut().enumerate().take(8 * to.length) {
                    let address = shared(words, from, lane, 4)?;
                    for (index, value) in row.iter_mut().enumerate() {
                        let loaded = around.shared.load(address + 4 * index as u32, self.number);
                        *value = loaded.map_err(|what| (lane as u32, what))?;
                    }
                }
                for (matrix, &register) in to.registers[..to.length].iter().enumerate() {
                    let half = |row: usize, column: usize| {
                        rows[8 * matrix + row][column / 2] >> (16 * (column % 2)) & 0xffff
                    };
                    words[word(register)] = std::array::from_fn(|lane| {
                        let (across, along) = (lane / 4, lane % 4 * 2);
                        match transposed {
                            false => half(across, along) | half(across, along + 1) << 16,
                            true => half(along, across) | half(along + 1, across) << 16,
                        }
                    });
                }
            }
            Kind::Product { product, d, a, b, c } => {
                let a = a.map(|register| words[word(register)]);
                let b = b.map(|register| words[word(register)]);
                let c = c.map(|register| words[word(register)]);
                for (register, value) in d.into_iter().zip(multiply(product, &a, &b, &c)) {
                    words[word(register)] = value;
                }
            }
            Kind::ProxyFence => around.shared.fence(self.number),
            Kind::Warpgroup(_) | Kind::Branch(_) | Kind::Exit | Kind::Trap => {}
        }
        Ok(())
    }

    /// Does this warp's part of what the warps of its warpgroup do together.
    fn with_warpgroup(&mut self, part: &Warpgroup, at: u32, around: &mut Around) -> Result<(), String> {
        let step = match part {
            Warpgroup::Product(product) => self.step(product, at)?,
            _ => Step { at, b: 0, adds: false },
        };
        around.warpgroups.note(self.number, step)?;
        let shared = (&mut *around.shared, self.number);
        match part {
            Warpgroup::Fence => self.products.fence(&self.words),
            Warpgroup::Product(product) => self.products.begin(product, step, &mut self.words, shared)?,
            Warpgroup::Commit => self.products.commit(),
            Warpgroup::Wait(left) => self.products.wait(*left, &mut self.words, shared)?,
        }
        Ok(())
    }

    /// A product with what all lanes have to say alike.
    fn step(&self, product: &WarpgroupProduct, at: u32) -> Result<Step, String> {
        let (descriptors, adds) = (&self.longs[product.b as usize], self.predicates[product.adds as usize]);
        let b = descriptors[0];
        if descriptors.iter().any(|other| *other != b) || ![0, ALL].contains(&adds) {
            return Err(
                "lanes have several matrix descriptors, or do not agree on whether D is added".to_owned()
            );
        }
        Ok(Step { at, b, adds: adds == ALL })
    }

    /// Ends the copies of all groups but the latest `left`.
    fn wait(&mut self, left: Option<u32>, mask: u32, around: &mut Around) -> Result<(), (u32, String)> {
        let mut waiting = Vec::new();
        for copy in std::mem::take(&mut self.copies) {
            let committed = self.committed[copy.lane as usize];
            let meant = mask >> copy.lane & 1 == 1
                && left.is_none_or(|left| copy.group.saturating_add(left) < committed);
            if !meant {
                waiting.push(copy);
                continue;
            }
            for word in 0..copy.words {
                let value = if word < copy.read {
                    let value = around.heap.load(copy.from + 4 * u64::from(word), around.party);
                    value.map_err(|what| (copy.lane, what))?
                } else {
                    0
                };
                around.shared.end_copy(copy.to + 4 * word, value, self.number);
            }
        }
        self.copies = waiting;
        Ok(())
    }
}

/// A lane's address in global memory, aligned for so many words.
fn global(longs: &[Longs], address: Address<Long>, lane: usize, words: usize) -> Result<u64, (u32, String)> {
    let at = longs[address.register as usize][lane].wrapping_add(address.offset);
    match at.is_multiple_of(4 * words as u64) {
        true => Ok(at),
        false => {
            Err((lane as u32, format!("global memory at {at:#x} is not aligned for {} bytes", 4 * words)))
        }
    }
}

/// A lane's address in shared memory, aligned for so many words.
fn shared(words: &[Words], address: Address<Word>, lane: usize, length: usize) -> Result<u32, (u32, String)> {
    let at = words[address.register as usize][lane].wrapping_add(address.offset as u32);
    match at.is_multiple_of(4 * length as u32) {
        true => Ok(at),
        false => Err((lane as u32, format!("shared memory at {at} is not aligned for {} bytes", 4 * length))),
    }
}

/// The lane whose value `shfl` takes (PTX ISA, `shfl.sync`).
fn source(how: Shuffle, lane: u32, b: u32, c: u32) -> u32 {
    let (b, clamp, segment) = (b & 31, c & 31, c >> 8 & 31);
    let most = lane & segment | clamp & !segment;
    let least = lane & segment;
    let (source, inside) = match how {
        Shuffle::Up => (lane.wrapping_sub(b), lane.cast_signed() - b.cast_signed() >= most.cast_signed()),
        Shuffle::Down => (lane + b, lane + b <= most),
        Shuffle::Butterfly => (lane ^ b, lane ^ b <= most),
        Shuffle::Index => {
            let source = least | b & !segment;
            (source, source <= most)
        }
    };
    if inside { source } else { lane }
}

/// D = A B + C of 16 × 8 by the tensor cores, each element added up in `f64` and then rounded. What each lane holds of the matrices is the PTX
/// ISA's ("Matrix Fragments for mma.m16n8k8" and "… mma.m16n8k16").
fn multiply(product: Product, a: &[Words; 4], b: &[Words; 2], c: &[Words; 4]) -> [Words; 4] {
    let depth = match product {
        Product::Tf32 => 8,
        Product::Bf16 => 16,
    };
    let mut left = [[0.0_f64; 16]; 16]; // (16 × depth)
    let mut right = [[0.0_f64; 8]; 16]; // (depth × 8)
    for lane in 0..32 {
        let (group, within) = (lane / 4, lane % 4);
        for register in 0..4 {
            let row = if register % 2 == 0 { group } else { group + 8 };
            let value = a[register][lane];
            match product {
                Product::Tf32 => left[row][within + if register < 2 { 0 } else { 4 }] = tf32(value),
                Product::Bf16 => {
                    let column = 2 * within + if register < 2 { 0 } else { 8 };
                    (left[row][column], left[row][column + 1]) = (bf16(value), bf16(value >> 16));
                }
            }
        }
        for register in 0..2 {
            let value = b[register][lane];
            match product {
                Product::Tf32 => right[within + 4 * register][group] = tf32(value),
                Product::Bf16 => {
                    let row = 2 * within + 8 * register;
                    (right[row][group], right[row + 1][group]) = (bf16(value), bf16(value >> 16));
                }
            }
        }
    }
    std::array::from_fn(|register| {
        std::array::from_fn(|lane| {
            let row = lane / 4 + if register < 2 { 0 } else { 8 };
            let column = lane % 4 * 2 + register % 2;
            let sum = (0..depth).map(|k| left[row][k] * right[k][column]).sum::<f64>();
            ((f64::from(f32::from_bits(c[register][lane])) + sum) as f32).to_bits()
        })
    })
}

/// The value that the tensor cores see: the last 13 bits are not looked at.
pub fn tf32(bits: u32) -> f64 {
    f64::from(f32::from_bits(bits & !0x1fff))
}

/// A bf16 in the lower half.
fn bf16(bits: u32) -> f64 {
    f64::from(f32::from_bits(bits << 16))
}
