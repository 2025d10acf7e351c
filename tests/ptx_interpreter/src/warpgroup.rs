//! Products of a warpgroup: four warps begin one together, and it is on its way until they have waited for it.
//!
//! All that the PTX ISA ("Asynchronous Warpgroup Level Matrix Instructions") leaves open until the wait happens at the
//! wait here, where what should have stayed as it was is looked at.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::instruction::WarpgroupProduct;
use crate::lanes::Words;
use crate::memory::Shared;
use crate::registers::Word;
use crate::warp::tf32;

/// Warps of a warpgroup, and its threads.
const WARPS: usize = 4;
const THREADS: u32 = 128;

/// B is 8 × 128.
const DEPTH: u32 = 8;
const COLUMNS: u32 = 128;

/// Columns of B that stand together, a line of so many bytes each, in an order that repeats every so many bytes.
const GROUP: u32 = 8;
const LINE: u32 = 128;
const PATTERN: u32 = GROUP * LINE;

/// B, column by column.
type Columns = [[f64; DEPTH as usize]; COLUMNS as usize];

/// What is in registers of D as long as products are on their way: a NaN.
const ON_ITS_WAY: u32 = 0x7fc0_beef;

/// One of the instructions that the warps of a warpgroup do together.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The instruction's number.
    pub at: u32,
    /// Of a product: the matrix descriptor of B, and whether D is added.
    pub b: u64,
    pub adds: bool,
}

/// What the warps of each whole warpgroup of a block have done together.
pub struct Warpgroups(Vec<Log>);

/// What a warpgroup has done, and how much of that each of its warps.
#[derive(Clone, Default)]
struct Log {
    steps: Vec<Step>,
    done: [usize; WARPS],
}

impl Warpgroups {
    /// Those of a block of so many threads.
    pub fn new(threads: u32) -> Warpgroups {
        Warpgroups(vec![Log::default(); (threads / THREADS) as usize])
    }

    /// Notes what a warp does next.
    ///
    /// # Errors
    /// Another warp of its warpgroup did something else there, or there are fewer than four.
    pub fn note(&mut self, warp: u32, step: Step) -> Result<(), String> {
        let (group, member) = (warp as usize / WARPS, warp as usize % WARPS);
        let Some(log) = self.0.get_mut(group) else {
            return Err("a warpgroup of fewer than 128 threads".to_owned());
        };
        match log.steps.get(log.done[member]) {
            None => log.steps.push(step),
            Some(other) if other.at != step.at => {
                return Err(
                    "another warp of the warpgroup came to another instruction for all of them".to_owned()
                );
            }
            Some(other) if *other != step => {
                return Err(
                    "another warp of the warpgroup has another matrix descriptor, or adds D".to_owned()
                );
            }
            Some(_) => {}
        }
        log.done[member] += 1;
        Ok(())
    }

    /// A warp that has done less than another of its warpgroup, and at which instruction.
    pub fn unfinished(&self) -> Option<(u32, u32)> {
        self.0.iter().enumerate().find_map(|(group, log)| {
            let member = log.done.iter().position(|done| *done < log.steps.len())?;
            Some(((WARPS * group + member) as u32, log.steps[log.done[member]].at))
        })
    }
}

/// Where B is.
#[derive(Clone, Copy)]
struct Matrix {
    start: u32,
    /// Bytes from one group of columns to the next.
    stride: u32,
}

impl Matrix {
    /// What a matrix descriptor says.
    ///
    /// # Errors
    /// It is none, or another layout than the one that is known here: along k, in the swizzle of 128 bytes.
    fn of(descriptor: u64) -> Result<Matrix, String> {
        let field = |first: u32, bits: u32| (descriptor >> first) as u32 & ((1 << bits) - 1);
        // In units of 16 bytes. (The other offset, at bit 16, is not used in this layout.)
        let (start, stride) = (field(0, 14) * 16, field(32, 14) * 16);
        if field(62, 2) != 1 {
            return Err("another swizzle than that of 128 bytes is not known here".to_owned());
        }
        if [field(14, 2), field(30, 2), field(46, 3), field(49, 3), field(52, 10)] != [0; 5] {
            return Err("a base offset, or bits without a meaning, are not known here".to_owned());
        }
        let step = start % PATTERN;
        if step >= LINE || !step.is_multiple_of(4 * DEPTH) || !stride.is_multiple_of(PATTERN) {
            return Err(format!(
                "a matrix at {start}, its groups every {stride} bytes: neither at multiples of 1024, nor steps of 32 bytes behind"
            ));
        }
        Ok(Matrix { start, stride })
    }

    /// Where an element stands.
    fn address(self, k: u32, column: u32) -> u32 {
        let plain = self.start + column / GROUP * self.stride + column % GROUP * LINE + 4 * k;
        // The swizzle: which 16 bytes of a line depends on which line of its group it is.
        plain ^ (plain / LINE % GROUP * 16)
    }

    /// All of them, column by column.
    fn addresses(self) -> impl Iterator<Item = u32> {
        (0..COLUMNS).flat_map(move |column| (0..DEPTH).map(move |k| self.address(k, column)))
    }
}

/// A product on its way.
struct Begun {
    step: Step,
    product: Arc<WarpgroupProduct>,
    /// The number of its group, from 0.
    group: u32,
    /// What the registers of A held.
    a: [Words; 4],
    b: Matrix,
}

/// What belongs into registers of D, once all products that they are of have been waited for.
struct Sums {
    d: [Word; 64],
    values: Vec<Words>,
    products: u32,
}

/// The products of a warp.
#[derive(Default)]
pub struct Products {
    /// Those on their way, in their order.
    begun: VecDeque<Begun>,
    sums: Vec<Sums>,
    /// Groups so far.
    committed: u32,
    /// There was a fence since the last group or wait, and what all registers held then.
    fenced: bool,
    at_fence: Vec<Words>,
}

impl Products {
    /// `wgmma.fence`
    pub fn fence(&mut self, words: &[Words]) {
        self.fenced = true;
        words.clone_into(&mut self.at_fence);
    }

    /// `wgmma.mma_async`, by this warp, with these registers.
    ///
    /// # Errors
    /// Without a fence, or with registers that were changed since; a read of shared memory that is one.
    pub fn begin(
        &mut self,
        product: &Arc<WarpgroupProduct>,
        step: Step,
        words: &mut [Words],
        (shared, warp): (&mut Shared, u32),
    ) -> Result<(), String> {
        if !self.fenced {
            return Err("no wgmma.fence since the last wgmma.commit_group or wgmma.wait_group".to_owned());
        }
        let b = Matrix::of(step.b)?;
        for address in b.addresses() {
            shared.begin_read(address, warp)?;
        }
        self.as_fenced(&product.a, words)?;
        let a = product.a.map(|register| words[register as usize]);
        self.claim(&product.d, words)?;
        self.begun.push_back(Begun { step, product: Arc::clone(product), group: self.committed, a, b });
        Ok(())
    }

    /// That these registers hold what they held at the fence.
    fn as_fenced(&self, registers: &[Word], words: &[Words]) -> Result<(), String> {
        match registers.iter().all(|register| words[*register as usize] == self.at_fence[*register as usize])
        {
            true => Ok(()),
            false => Err("registers of the product were written after wgmma.fence".to_owned()),
        }
    }

    /// Takes the sums out of their registers, unless another product has already.
    fn claim(&mut self, d: &[Word; 64], words: &mut [Words]) -> Result<(), String> {
        if let Some(sums) = self.sums.iter_mut().find(|sums| sums.d == *d) {
            sums.products += 1;
            return Ok(());
        }
        if self.sums.iter().any(|sums| sums.d.iter().any(|register| d.contains(register))) {
            return Err(
                "registers of D are those of another D too, whose product was not waited for".to_owned()
            );
        }
        self.as_fenced(d, words)?;
        let values = d.iter().map(|register| words[*register as usize]).collect();
        d.iter().for_each(|register| words[*register as usize] = [ON_ITS_WAY; 32]);
        self.sums.push(Sums { d: *d, values, products: 1 });
        Ok(())
    }

    /// `wgmma.commit_group`
    pub fn commit(&mut self) {
        self.committed += 1;
        self.fenced = false;
    }

    /// `wgmma.wait_group`, for all but the latest `left` groups.
    ///
    /// # Errors
    /// What a product uses was changed since it was begun.
    pub fn wait(
        &mut self,
        left: u32,
        words: &mut [Words],
        (shared, warp): (&mut Shared, u32),
    ) -> Result<(), String> {
        self.fenced = false;
        let done = self.committed.saturating_sub(left);
        while let Some(begun) = self.begun.pop_front_if(|begun| begun.group < done) {
            self.finish(&begun, words, (shared, warp))?;
        }
        Ok(())
    }

    /// Makes the sums of a product, and brings them into their registers if it is the last of these.
    fn finish(
        &mut self,
        Begun { step, product, a, b, .. }: &Begun,
        words: &mut [Words],
        (shared, warp): (&mut Shared, u32),
    ) -> Result<(), String> {
        if product.a.map(|register| words[register as usize]) != *a {
            return Err("registers of A were written before the product was waited for".to_owned());
        }
        is_on_its_way(&product.d, words)?;
        let mut columns: Columns = [[0.0; DEPTH as usize]; COLUMNS as usize];
        for (value, address) in columns.as_flattened_mut().iter_mut().zip(b.addresses()) {
            *value = tf32(shared.end_read(address, warp)?);
        }
        for sums in self.sums.iter_mut().filter(|sums| sums.d == product.d) {
            multiply(a, &columns, step.adds, &mut sums.values);
            sums.products -= 1;
            if sums.products == 0 {
                sums.d.iter().zip(&sums.values).for_each(|(d, value)| words[*d as usize] = *value);
            }
        }
        self.sums.retain(|sums| sums.products > 0);
        Ok(())
    }

    /// The instruction of the first product on its way.
    pub fn first(&self) -> Option<u32> {
        self.begun.front().map(|begun| begun.step.at)
    }
}

/// That nobody has written to registers of D.
fn is_on_its_way(d: &[Word; 64], words: &[Words]) -> Result<(), String> {
    match d.iter().all(|register| words[*register as usize] == [ON_ITS_WAY; 32]) {
        true => Ok(()),
        false => Err("registers of D were written before the product was waited for".to_owned()),
    }
}

/// D = A B, or A B + D, of a warp's 16 rows. Each element is added up in `f64`, beginning with D, by k, and rounded
/// once: the products themselves are exact. What each lane holds is the PTX ISA's ("Register Fragments", "Accumulator D").
fn multiply(a: &[Words; 4], columns: &Columns, adds: bool, d: &mut [Words]) {
    for lane in 0..32 {
        let (group, within) = (lane / 4, lane % 4);
        let rows: [[f64; DEPTH as usize]; 2] = std::array::from_fn(|lower| {
            std::array::from_fn(|k| tf32(a[lower + k / 4 * 2][4 * group + k % 4]))
        });
        for (register, values) in d.iter_mut().enumerate() {
            let column = &columns[register / 4 * 8 + 2 * within + register % 2];
            let first = if adds { f64::from(f32::from_bits(values[lane])) } else { 0.0 };
            let factors = rows[register / 2 % 2].iter().zip(column);
            values[lane] = (factors.fold(first, |sum, (a, b)| sum + a * b) as f32).to_bits();
        }
    }
}
