//! Instructions in the form in which they run, and what text they come from.

use std::sync::Arc;

use crate::lanes::{
    self, Long1, Long2, Long3, LongByWord, LongField, Narrow, Predicate2, TestLongs, TestWords, Widen1,
    Widen2, Word1, Word2, Word3,
};
use crate::registers::{Constant, Long, Predicate, Register, Registers, Word};

/// An instruction, and for which lanes.
pub struct Instruction {
    /// Runs for the lanes whose predicate is this.
    pub guard: Option<(Predicate, bool)>,
    /// What it does.
    pub kind: Kind,
    /// The number of its line in the module's text, from 0.
    pub line: u32,
}

/// An address: a register, and bytes to be added.
#[derive(Clone, Copy)]
pub struct Address<R> {
    pub register: R,
    pub offset: u64,
}

/// Registers one after the other in memory.
#[derive(Clone, Copy)]
pub struct Vector {
    pub registers: [Word; 4],
    pub length: usize,
}

/// How `shfl` finds the lane whose value is taken.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Shuffle {
    Up,
    Down,
    Butterfly,
    Index,
}

/// The tensor cores' products.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Product {
    /// `m16n8k8` of tf32.
    Tf32,
    /// `m16n8k16` of bf16.
    Bf16,
}

/// D = A B, or A B + D, of a warpgroup: `wgmma.mma_async` of `m64n128k8` of tf32.
pub struct WarpgroupProduct {
    pub d: [Word; 64],
    pub a: [Word; 4],
    /// The matrix descriptor of B.
    pub b: Long,
    /// Whether D is added.
    pub adds: Predicate,
}

/// What the warps of a warpgroup do together.
pub enum Warpgroup {
    Fence,
    Product(Arc<WarpgroupProduct>),
    Commit,
    /// For all but so many of the latest groups.
    Wait(u32),
}

/// What an atomic operation adds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Sum {
    Whole,
    Float,
}

/// What an instruction does. Results come first, as in the text.
pub enum Kind {
    Word1(Word1, Word, Word),
    Word2(Word2, Word, Word, Word),
    Word3(Word3, Word, Word, Word, Word),
    Long1(Long1, Long, Long),
    Long2(Long2, Long, Long, Long),
    Long3(Long3, Long, Long, Long, Long),
    LongByWord(LongByWord, Long, Long, Word),
    LongField(LongField, Long, Long, Word, Word),
    Widen1(Widen1, Long, Word),
    Widen2(Widen2, Long, Word, Word),
    Narrow(Narrow, Word, Long),
    TestWords(TestWords, Predicate, Word, Word),
    TestLongs(TestLongs, Predicate, Long, Long),
    Predicate2(Predicate2, Predicate, Predicate, Predicate),
    /// `mov.pred`
    SetPredicate(Predicate, bool),
    /// Where the predicate holds the first, else the second.
    ChooseWord(Word, Word, Word, Predicate),
    ChooseLong(Long, Long, Long, Predicate),
    /// Sets the carry, and adds the one before if `takes`.
    AddCarry {
        takes: bool,
        result: Long,
        a: Long,
        b: Long,
    },
    /// `mov.b32 {low, high}, a`
    Halves {
        low: Word,
        high: Word,
        a: Word,
    },
    LoadGlobal {
        to: Vector,
        from: Address<Long>,
    },
    /// A value of 32 bits into a register of 64.
    LoadGlobalLong {
        to: Long,
        from: Address<Long>,
    },
    StoreGlobal {
        to: Address<Long>,
        from: Vector,
    },
    LoadShared {
        to: Vector,
        from: Address<Word>,
    },
    StoreShared {
        to: Address<Word>,
        from: Vector,
    },
    Atomic {
        sum: Sum,
        old: Word,
        to: Address<Long>,
        value: Word,
    },
    /// So many bytes, of which `size` are read, and the others are 0.
    Copy {
        bytes: u32,
        to: Address<Word>,
        from: Address<Long>,
        size: Word,
    },
    CopyCommit,
    /// All but so many of the latest groups; `None`: those too that are no group yet.
    CopyWait(Option<u32>),
    Barrier,
    WarpBarrier {
        mask: Word,
    },
    Shuffle {
        how: Shuffle,
        result: Word,
        value: Word,
        lane: Word,
        clamp: Word,
        mask: Word,
    },
    Ballot {
        result: Word,
        vote: Predicate,
        mask: Word,
    },
    LoadMatrices {
        to: Vector,
        transposed: bool,
        from: Address<Word>,
    },
    Product {
        product: Product,
        d: [Word; 4],
        a: [Word; 4],
        b: [Word; 2],
        c: [Word; 4],
    },
    Warpgroup(Warpgroup),
    /// `fence.proxy.async`
    ProxyFence,
    /// To the instruction of this number.
    Branch(u32),
    Exit,
    Trap,
}

/// An instruction's text in parts.
pub struct Text<'a> {
    pub opcode: &'a str,
    pub operands: Vec<&'a str>,
}

impl<'a> Text<'a> {
    /// The parts of an instruction without its guard and its semicolon.
    pub fn of(text: &'a str) -> Text<'a> {
        let (opcode, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let (mut operands, mut depth, mut start) = (Vec::new(), 0, 0);
        for (at, character) in rest.char_indices() {
            match character {
                '{' | '[' => depth += 1,
                '}' | ']' => depth -= 1,
                ',' if depth == 0 => {
                    operands.push(rest[start..at].trim());
                    start = at + 1;
                }
                _ => {}
            }
        }
        if !rest[start..].trim().is_empty() {
            operands.push(rest[start..].trim());
        }
        Text { opcode, operands }
    }
}

/// What an instruction is made from.
pub struct Decoder<'a, 'r> {
    pub text: &'a Text<'a>,
    pub registers: &'r mut Registers,
    /// The number and the width in bytes of the parameter of this name.
    pub parameters: &'r dyn Fn(&str) -> Option<(usize, usize)>,
    /// What a name of shared memory stands for.
    pub shared: &'r mut dyn FnMut(&str) -> Option<Constant>,
}

/// An instruction that is not known, or an operand that does not fit it.
type Decoded<T> = Result<T, String>;

impl Decoder<'_, '_> {
    fn operand(&self, place: usize) -> Decoded<&'_ str> {
        let missing = || format!("{} has no operand {}", self.text.opcode, place + 1);
        self.text.operands.get(place).copied().ok_or_else(missing)
    }

    /// A name or a number as a constant.
    fn constant(&mut self, operand: &str) -> Decoded<Constant> {
        if let Some(shared) = (self.shared)(operand) {
            return Ok(shared);
        }
        if let Some(special) = Constant::special(operand) {
            return Ok(special);
        }
        let number = match operand.strip_prefix("0f") {
            Some(float) => u64::from_str_radix(float, 16).ok(),
            None => match operand.strip_prefix("0x") {
                Some(digits) => u64::from_str_radix(digits, 16).ok(),
                None => operand.parse::<i64>().map(i64::cast_unsigned).ok().or_else(|| operand.parse().ok()),
            },
        };
        number.map(Constant::Number).ok_or_else(|| format!("{operand} is neither a register nor a number"))
    }

    fn word_of(&mut self, operand: &str) -> Decoded<Word> {
        match self.registers.find(operand) {
            Some(Register::Word(word)) => Ok(word),
            Some(_) => Err(format!("{operand} is not a register of 32 bits")),
            None => {
                let constant = self.constant(operand)?;
                Ok(self.registers.constant_word(constant))
            }
        }
    }

    fn word(&mut self, place: usize) -> Decoded<Word> {
        let operand = self.operand(place)?.to_owned();
        self.word_of(&operand)
    }

    fn long(&mut self, place: usize) -> Decoded<Long> {
        let operand = self.operand(place)?.to_owned();
        match self.registers.find(&operand) {
            Some(Register::Long(long)) => Ok(long),
            Some(_) => Err(format!("{operand} is not a register of 64 bits")),
            None => {
                let constant = self.constant(&operand)?;
                Ok(self.registers.constant_long(constant))
            }
        }
    }

    fn predicate(&mut self, place: usize) -> Decoded<Predicate> {
        let operand = self.operand(place)?.to_owned();
        match self.registers.find(&operand) {
            Some(Register::Predicate(predicate)) => Ok(predicate),
            _ => Err(format!("{operand} is not a predicate")),
        }
    }

    /// A result: never a constant.
    fn result(&self, place: usize) -> Decoded<Register> {
        let operand = self.operand(place)?;
        self.registers.find(operand).ok_or_else(|| format!("{operand} is not a register"))
    }

    /// A register for a result.
    fn word_result(&self, place: usize) -> Decoded<Word> {
        match self.result(place)? {
            Register::Word(word) => Ok(word),
            _ => Err(format!("{} is not a register of 32 bits", self.operand(place)?)),
        }
    }

    /// The same of 64 bits.
    fn long_result(&self, place: usize) -> Decoded<Long> {
        match self.result(place)? {
            Register::Long(long) => Ok(long),
            _ => Err(format!("{} is not a register of 64 bits", self.operand(place)?)),
        }
    }

    /// That what stands there in braces are registers, for results.
    fn are_results(&self, place: usize) -> Decoded<()> {
        let operand = self.operand(place)?.trim_start_matches('{').trim_end_matches('}');
        match operand.split(',').map(str::trim).find(|one| self.registers.find(one).is_none()) {
            None => Ok(()),
            Some(one) => Err(format!("{one} is not a register")),
        }
    }

    /// `{a, b, c, d}`, or one register.
    fn words(&mut self, place: usize) -> Decoded<Vec<Word>> {
        let operand = self.operand(place)?.to_owned();
        let list = operand.strip_prefix('{').and_then(|list| list.strip_suffix('}'));
        list.unwrap_or(&operand).split(',').map(|one| self.word_of(one.trim())).collect()
    }

    fn array<const N: usize>(&mut self, place: usize) -> Decoded<[Word; N]> {
        let words = self.words(place)?;
        words.try_into().map_err(|_| format!("{} takes {N} registers there", self.text.opcode))
    }

    fn vector(&mut self, place: usize) -> Decoded<Vector> {
        let words = self.words(place)?;
        let length = words.len();
        if ![1, 2, 4].contains(&length) {
            return Err(format!("{length} registers are no vector"));
        }
        let registers = std::array::from_fn(|index| words[index.min(length - 1)]);
        Ok(Vector { registers, length })
    }

    /// `[register+bytes]`
    fn address(&self, place: usize) -> Decoded<(Register, u64)> {
        let operand = self.operand(place)?;
        let inner = operand.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
        let inner = inner.ok_or_else(|| format!("{operand} is not an address"))?;
        let (name, offset) = inner.split_once('+').unwrap_or((inner, "0"));
        let register = self.registers.find(name.trim());
        let offset: Option<i64> = offset.trim().parse().ok();
        match (register, offset) {
            (Some(register), Some(offset)) => Ok((register, offset.cast_unsigned())),
            _ => Err(format!("{operand} is not an address")),
        }
    }

    fn global(&self, place: usize) -> Decoded<Address<Long>> {
        match self.address(place)? {
            (Register::Long(register), offset) => Ok(Address { register, offset }),
            _ => Err("an address of global memory is a register of 64 bits".to_owned()),
        }
    }

    fn shared(&self, place: usize) -> Decoded<Address<Word>> {
        match self.address(place)? {
            (Register::Word(register), offset) => Ok(Address { register, offset }),
            _ => Err("an address of shared memory is a register of 32 bits".to_owned()),
        }
    }

    /// The vector of a load or a store, whose length and type the opcode has to have as well.
    fn moved(&mut self, place: usize, kind: &str) -> Decoded<Vector> {
        let vector = self.vector(place)?;
        let (length, kind) = match kind.split_once('.') {
            Some(("v2", kind)) => (2, kind),
            Some(("v4", kind)) => (4, kind),
            _ => (1, kind),
        };
        if !["b32", "u32", "s32", "f32"].contains(&kind) || length != vector.length {
            return Err(format!("{} does not fit its registers, or is not known here", self.text.opcode));
        }
        Ok(vector)
    }

    /// A load or a store; nothing where the opcode is another.
    fn memory(&mut self, opcode: &str) -> Decoded<Option<Kind>> {
        let after = |places: &[&str]| places.iter().find_map(|place| opcode.strip_prefix(place));
        if let Some(kind) = after(&["ld.global.", "ld.relaxed.gpu.global.", "ld.acquire.gpu.global."]) {
            self.are_results(0)?;
            let from = self.global(1)?;
            return Ok(Some(match self.result(0) {
                // Without an extension by the sign, which no type of ours has.
                Ok(Register::Long(to)) if ["b32", "u32"].contains(&kind) => Kind::LoadGlobalLong { to, from },
                _ => Kind::LoadGlobal { to: self.moved(0, kind)?, from },
            }));
        }
        if let Some(kind) = after(&["st.global.", "st.relaxed.gpu.global.", "st.release.gpu.global."]) {
            return Ok(Some(Kind::StoreGlobal { to: self.global(0)?, from: self.moved(1, kind)? }));
        }
        if let Some(kind) = after(&["ld.shared."]) {
            self.are_results(0)?;
            return Ok(Some(Kind::LoadShared { to: self.moved(0, kind)?, from: self.shared(1)? }));
        }
        if let Some(kind) = after(&["st.shared."]) {
            return Ok(Some(Kind::StoreShared { to: self.shared(0)?, from: self.moved(1, kind)? }));
        }
        Ok(None)
    }

    /// What the instruction does; a branch's target is left to be filled in.
    pub fn decode(&mut self) -> Decoded<Kind> {
        let opcode = self.text.opcode;
        if let Some(kind) = self.arithmetic(opcode)? {
            return Ok(kind);
        }
        if let Some(kind) = self.memory(opcode)? {
            return Ok(kind);
        }
        Ok(match opcode {
            "mov.pred" => match self.operand(1)? {
                "0" => Kind::SetPredicate(self.predicate(0)?, false),
                "-1" | "1" => Kind::SetPredicate(self.predicate(0)?, true),
                _ => {
                    let from = self.predicate(1)?;
                    Kind::Predicate2(|a, _| a, self.predicate(0)?, from, from)
                }
            },
            "selp.b32" | "selp.f32" | "selp.u32" | "selp.s32" | "selp.b16" => {
                Kind::ChooseWord(self.word_result(0)?, self.word(1)?, self.word(2)?, self.predicate(3)?)
            }
            "selp.b64" | "selp.u64" | "selp.s64" => {
                Kind::ChooseLong(self.long_result(0)?, self.long(1)?, self.long(2)?, self.predicate(3)?)
            }
            "add.cc.s64" | "add.cc.u64" | "addc.cc.s64" | "addc.cc.u64" => Kind::AddCarry {
                takes: opcode.starts_with("addc"),
                result: self.long_result(0)?,
                a: self.long(1)?,
                b: self.long(2)?,
            },
            "ld.param.b32" | "ld.param.u32" | "ld.param.f32" | "ld.param.b64" | "ld.param.u64" => {
                self.parameter()?
            }
            "atom.relaxed.gpu.global.add.u32" | "atom.acq_rel.gpu.global.add.u32" => {
                self.atomic(Sum::Whole)?
            }
            "atom.relaxed.gpu.global.add.f32" => self.atomic(Sum::Float)?,
            "cp.async.ca.shared.global" | "cp.async.cg.shared.global" => self.copy()?,
            "cp.async.commit_group" => Kind::CopyCommit,
            "cp.async.wait_all" => Kind::CopyWait(None),
            "cp.async.wait_group" => Kind::CopyWait(Some(self.groups()?)),
            "bar.sync" | "barrier.sync.aligned"
                if self.operand(0)? == "0" && self.text.operands.len() == 1 =>
            {
                Kind::Barrier
            }
            "bar.warp.sync" => Kind::WarpBarrier { mask: self.word(0)? },
            "shfl.sync.up.b32" => self.shuffle(Shuffle::Up)?,
            "shfl.sync.down.b32" => self.shuffle(Shuffle::Down)?,
            "shfl.sync.bfly.b32" => self.shuffle(Shuffle::Butterfly)?,
            "shfl.sync.idx.b32" => self.shuffle(Shuffle::Index)?,
            "vote.sync.ballot.b32" => {
                Kind::Ballot { result: self.word_result(0)?, vote: self.predicate(1)?, mask: self.word(2)? }
            }
            "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32" => self.product(Product::Tf32)?,
            "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32" => self.product(Product::Bf16)?,
            "wgmma.fence.sync.aligned" => Kind::Warpgroup(Warpgroup::Fence),
            "wgmma.mma_async.sync.aligned.m64n128k8.f32.tf32.tf32" => self.warpgroup_product()?,
            "wgmma.commit_group.sync.aligned" => Kind::Warpgroup(Warpgroup::Commit),
            "wgmma.wait_group.sync.aligned" => Kind::Warpgroup(Warpgroup::Wait(self.groups()?)),
            "fence.proxy.async" | "fence.proxy.async.shared::cta" => Kind::ProxyFence,
            "bra" | "bra.uni" => Kind::Branch(0),
            "ret" | "exit" => Kind::Exit,
            "trap" => Kind::Trap,
            _ => match opcode.strip_prefix("ldmatrix.sync.aligned.m8n8.") {
                Some(shape) => self.matrices(shape)?,
                None => return Err(format!("the instruction {opcode} is not known here")),
            },
        })
    }

    fn arithmetic(&mut self, opcode: &str) -> Decoded<Option<Kind>> {
        let halves =
            |place: usize| self.text.operands.get(place).is_some_and(|operand| operand.starts_with('{'));
        if opcode == "mov.b32" && halves(0) {
            self.are_results(0)?;
            let [low, high] = self.array(0)?;
            return Ok(Some(Kind::Halves { low, high, a: self.word(1)? }));
        }
        if opcode == "mov.b64" && halves(1) {
            let [low, high] = self.array(1)?;
            return Ok(Some(Kind::Widen2(lanes::pack, self.long_result(0)?, low, high)));
        }
        let kind = if let Some(does) = lanes::word1(opcode) {
            Kind::Word1(does, self.word_result(0)?, self.word(1)?)
        } else if let Some(does) = lanes::word2(opcode) {
            Kind::Word2(does, self.word_result(0)?, self.word(1)?, self.word(2)?)
        } else if let Some(does) = lanes::word3(opcode) {
            Kind::Word3(does, self.word_result(0)?, self.word(1)?, self.word(2)?, self.word(3)?)
        } else if let Some(does) = lanes::long1(opcode) {
            Kind::Long1(does, self.long_result(0)?, self.long(1)?)
        } else if let Some(does) = lanes::long2(opcode) {
            Kind::Long2(does, self.long_result(0)?, self.long(1)?, self.long(2)?)
        } else if let Some(does) = lanes::long3(opcode) {
            Kind::Long3(does, self.long_result(0)?, self.long(1)?, self.long(2)?, self.long(3)?)
        } else if let Some(does) = lanes::long_by_word(opcode) {
            Kind::LongByWord(does, self.long_result(0)?, self.long(1)?, self.word(2)?)
        } else if let Some(does) = lanes::long_field(opcode) {
            Kind::LongField(does, self.long_result(0)?, self.long(1)?, self.word(2)?, self.word(3)?)
        } else if let Some(does) = lanes::widen1(opcode) {
            Kind::Widen1(does, self.long_result(0)?, self.word(1)?)
        } else if let Some(does) = lanes::widen2(opcode) {
            Kind::Widen2(does, self.long_result(0)?, self.word(1)?, self.word(2)?)
        } else if let Some(does) = lanes::narrow(opcode) {
            Kind::Narrow(does, self.word_result(0)?, self.long(1)?)
        } else if let Some(does) = lanes::test_words(opcode) {
            Kind::TestWords(does, self.predicate(0)?, self.word(1)?, self.word(2)?)
        } else if let Some(does) = lanes::test_longs(opcode) {
            Kind::TestLongs(does, self.predicate(0)?, self.long(1)?, self.long(2)?)
        } else if let Some(does) = lanes::predicate2(opcode) {
            Kind::Predicate2(does, self.predicate(0)?, self.predicate(1)?, self.predicate(2)?)
        } else {
            return Ok(None);
        };
        Ok(Some(kind))
    }

    /// A parameter is a constant of the launch.
    fn parameter(&mut self) -> Decoded<Kind> {
        let operand = self.operand(1)?;
        let name = operand.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(operand);
        let (index, bytes) = (self.parameters)(name).ok_or_else(|| format!("{name} is not a parameter"))?;
        if bytes != if self.text.opcode.ends_with("64") { 8 } else { 4 } {
            return Err(format!("{name} has {bytes} bytes"));
        }
        let constant = Constant::Parameter(index);
        Ok(match self.result(0)? {
            Register::Word(to) if bytes == 4 => {
                Kind::Word1(|a| *a, to, self.registers.constant_word(constant))
            }
            Register::Long(to) => Kind::Long1(|a| *a, to, self.registers.constant_long(constant)),
            _ => return Err(format!("{name} does not fit its register")),
        })
    }

    fn atomic(&mut self, sum: Sum) -> Decoded<Kind> {
        Ok(Kind::Atomic { sum, old: self.word_result(0)?, to: self.global(1)?, value: self.word(2)? })
    }

    /// The groups that a wait leaves alone.
    fn groups(&self) -> Decoded<u32> {
        let groups = self.operand(0)?;
        groups.parse().map_err(|_| format!("{groups} is no number of groups"))
    }

    fn copy(&mut self) -> Decoded<Kind> {
        let bytes = self.operand(2)?;
        let bytes = bytes.parse().map_err(|_| format!("{bytes} is no number of bytes"))?;
        // Past the first cache there are whole pieces of 16 bytes only.
        let known: &[u32] = if self.text.opcode.contains(".cg.") { &[16] } else { &[4, 8, 16] };
        if !known.contains(&bytes) {
            return Err(format!("{} does not copy {bytes} bytes", self.text.opcode));
        }
        let size = match self.text.operands.len() {
            3 => self.registers.constant_word(Constant::Number(u64::from(bytes))),
            _ => self.word(3)?,
        };
        Ok(Kind::Copy { bytes, to: self.shared(0)?, from: self.global(1)?, size })
    }

    fn shuffle(&mut self, how: Shuffle) -> Decoded<Kind> {
        Ok(Kind::Shuffle {
            how,
            result: self.word_result(0)?,
            value: self.word(1)?,
            lane: self.word(2)?,
            clamp: self.word(3)?,
            mask: self.word(4)?,
        })
    }

    fn product(&mut self, product: Product) -> Decoded<Kind> {
        self.are_results(0)?;
        Ok(Kind::Product {
            product,
            d: self.array(0)?,
            a: self.array(1)?,
            b: self.array(2)?,
            c: self.array(3)?,
        })
    }

    fn warpgroup_product(&mut self) -> Decoded<Kind> {
        // Neither A nor B negated.
        if self.text.operands.get(4..) != Some(&["1", "1"]) {
            return Err(format!("{} is known here with scales of 1 only", self.text.opcode));
        }
        self.are_results(0)?;
        self.are_results(1)?;
        let product = WarpgroupProduct {
            d: self.array(0)?,
            a: self.array(1)?,
            b: self.long(2)?,
            adds: self.predicate(3)?,
        };
        Ok(Kind::Warpgroup(Warpgroup::Product(Arc::new(product))))
    }

    fn matrices(&mut self, shape: &str) -> Decoded<Kind> {
        let (length, transposed) = match shape {
            "x1.shared.b16" => (1, false),
            "x2.shared.b16" => (2, false),
            "x4.shared.b16" => (4, false),
            "x1.trans.shared.b16" => (1, true),
            "x2.trans.shared.b16" => (2, true),
            "x4.trans.shared.b16" => (4, true),
            _ => return Err(format!("ldmatrix {shape} is not known here")),
        };
        self.are_results(0)?;
        let to = self.vector(0)?;
        if to.length != length {
            return Err(format!("ldmatrix {shape} takes {length} registers"));
        }
        Ok(Kind::LoadMatrices { to, transposed, from: self.shared(1)? })
    }
}
