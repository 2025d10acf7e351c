//! What the machine code of a kernel's main loop consists of, from the text that nvdisasm writes.

use std::collections::BTreeMap;

/// What is counted of a run of instructions, those of both sides of each branch in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// All of them.
    pub instructions: u32,
    /// Fused multiply-adds in `f32`.
    pub ffma: u32,
    /// Products of matrices by tensor cores.
    pub hmma: u32,
    /// Other arithmetic in `f32`: additions, products, comparisons, approximate functions.
    pub float: u32,
    /// Loads from global memory.
    pub ldg: u32,
    /// Copies from global to shared memory.
    pub ldgsts: u32,
    /// Loads from shared memory of 4 and of 8 bytes.
    pub lds: u32,
    /// Loads from shared memory of 16 bytes.
    pub lds_128: u32,
    /// Loads of matrices from shared memory.
    pub ldsm: u32,
    /// Stores to shared memory.
    pub sts: u32,
    /// Barriers of the block.
    pub bar: u32,
}

impl Counts {
    fn of(opcodes: &[Line<'_>]) -> Counts {
        let mut counts = Counts::default();
        for line in opcodes {
            let mut parts = line.opcode.split('.');
            let name = parts.next().unwrap_or_default();
            counts.instructions += u32::from(name != "NOP");
            let count = match name {
                // A constant is also made by a product of halves.
                "FFMA" | "FFMA32I" => &mut counts.ffma,
                "HMMA" | "HGMMA" => &mut counts.hmma,
                "FADD" | "FMUL" | "FMNMX" | "FSETP" | "FSEL" | "MUFU" => &mut counts.float,
                "LDG" => &mut counts.ldg,
                "LDGSTS" => &mut counts.ldgsts,
                "LDS" if parts.any(|part| part == "128") => &mut counts.lds_128,
                "LDS" => &mut counts.lds,
                "LDSM" => &mut counts.ldsm,
                "STS" => &mut counts.sts,
                "BAR" => &mut counts.bar,
                _ => continue,
            };
            *count += 1;
        }
        counts
    }

    /// What tells the main loop from the others: arithmetic, and where there is none, loads. A product of matrices is a
    /// thousand multiply-adds of a warp's 32 threads.
    fn weight(&self) -> u32 {
        32 * self.hmma + self.ffma + self.float + self.ldg
    }

    /// Fused multiply-adds for each load from shared or global memory, if there are loads.
    pub fn ffma_per_load(&self) -> Option<f64> {
        ratio(self.ffma, self.loads())
    }

    /// Fused multiply-adds for each load of 16 bytes from shared memory, if there are such loads.
    pub fn ffma_per_lds_128(&self) -> Option<f64> {
        ratio(self.ffma, self.lds_128)
    }

    /// Products of matrices for each load from shared or global memory, if there are loads.
    pub fn hmma_per_load(&self) -> Option<f64> {
        ratio(self.hmma, self.loads())
    }

    fn loads(&self) -> u32 {
        self.ldg + self.ldgsts + self.lds + self.lds_128 + self.ldsm
    }
}

fn ratio(a: u32, b: u32) -> Option<f64> {
    (b > 0).then(|| f64::from(a) / f64::from(b))
}

/// A kernel's machine code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    /// All of its instructions, without those of functions that it calls.
    pub instructions: u32,
    /// Its main loop; all of it if it has no loop.
    pub main_loop: Counts,
}

/// One instruction.
struct Line<'a> {
    opcode: &'a str,
    /// The label where it may go on.
    target: Option<&'a str>,
}

/// The predicate that never holds. ptxas puts such loads before some copies.
const NEVER: &str = "@!PT";

/// Each kernel's code, by name, from the output of `nvdisasm --print-code`.
pub fn parse(text: &str) -> BTreeMap<String, Code> {
    let mut kernels = BTreeMap::new();
    let mut name = "";
    let (mut lines, mut labels) = (Vec::new(), BTreeMap::new());
    for line in text.lines().chain([".text.:"]) {
        let line = line.trim();
        if let Some(next) = line.strip_prefix(".text.").and_then(|rest| rest.strip_suffix(':')) {
            if !lines.is_empty() {
                kernels.insert(name.to_string(), code(&lines, &labels));
            }
            name = next;
            lines.clear();
            labels.clear();
        } else if let Some(label) = line.strip_suffix(':') {
            labels.insert(label, lines.len());
        } else if let Some(instruction) = instruction(line) {
            lines.push(instruction);
        }
    }
    kernels
}

/// `/*0080*/ @P0 BRA (.L_x_546) ;`
fn instruction(line: &str) -> Option<Line<'_>> {
    let (_, text) = line.strip_prefix("/*")?.split_once("*/")?;
    let mut words = text.split_whitespace();
    let opcode = match words.next()? {
        NEVER => "never",
        predicate if predicate.starts_with('@') => words.next()?,
        opcode => opcode,
    };
    let opcode = opcode.trim_end_matches(';');
    let target = if opcode == "BRA" {
        text.split_once("`(").and_then(|(_, rest)| rest.split_once(')')).map(|(label, _)| label)
    } else {
        None
    };
    Some(Line { opcode, target })
}

fn code(lines: &[Line<'_>], labels: &BTreeMap<&str, usize>) -> Code {
    let all = Counts::of(lines);
    // A jump back closes a loop; one to itself is what follows a kernel's end.
    let loops: Vec<Counts> = (0..lines.len())
        .filter_map(|end| {
            let start = *labels.get(lines[end].target?)?;
            (start < end).then(|| Counts::of(&lines[start..=end]))
        })
        .collect();
    let heaviest = loops.iter().map(Counts::weight).max().unwrap_or(0);
    // Loops around the main loop have its weight as well, and what is left over of it has less than half.
    let main_loop = loops.iter().filter(|counts| 2 * counts.weight() >= heaviest.max(1));
    let main_loop = main_loop.min_by_key(|counts| counts.instructions).copied().unwrap_or(all);
    Code { instructions: all.instructions, main_loop }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SASS: &str = "
\t.section\t.text.dot,\"ax\",@progbits
\t.global\t\tdot
.text.dot:
        /*0000*/                   MOV R1, c[0x0][0x28] ;
.L_x_1:
        /*0010*/                   LDG.E R2, [R4] ;
.L_x_2:
        /*0020*/                   LDS.128 R8, [R5] ;
        /*0030*/                   LDS.64 R8, [R5] ;
        /*0038*/              @!PT LDS RZ, [RZ] ;
        /*0040*/                   FFMA R0, R8, R9, R0 ;
        /*0050*/                   FFMA.FTZ R0, R8, R9, R0 ;
        /*0060*/               @P0 BRA `(.L_x_2) ;
        /*0070*/                   BAR.SYNC.DEFER_BLOCKING 0x0 ;
        /*0080*/              @!P1 BRA `(.L_x_1) ;
.L_x_3:
        /*0090*/                   FADD R0, R0, R1 ;
        /*00a0*/               @P0 BRA `(.L_x_3) ;
        /*00b0*/                   EXIT ;
.L_x_4:
        /*00c0*/                   BRA `(.L_x_4);
        /*00d0*/                   NOP;
.text.plain:
        /*0000*/                   HMMA.1688.F32.TF32 R0, R0, R1, R2 ;
        /*0010*/                   LDSM.16.M88.4 R0, [R2] ;
        /*0020*/                   EXIT ;
";

    #[test]
    fn the_main_loop_is_the_smallest_with_most_of_the_work() {
        let code = parse(SASS)["dot"];
        assert_eq!(code.instructions, 14);
        let expected = Counts { instructions: 6, ffma: 2, lds: 1, lds_128: 1, ..Counts::default() };
        assert_eq!(code.main_loop, expected);
        assert_eq!(
            (code.main_loop.ffma_per_load(), code.main_loop.ffma_per_lds_128()),
            (Some(1.0), Some(2.0))
        );
        assert_eq!(code.main_loop.hmma_per_load(), Some(0.0));
    }

    #[test]
    fn a_kernel_without_a_loop_counts_as_a_whole() {
        let code = parse(SASS)["plain"];
        let expected = Counts { instructions: 3, hmma: 1, ldsm: 1, ..Counts::default() };
        assert_eq!(code, Code { instructions: 3, main_loop: expected });
        assert_eq!((expected.hmma_per_load(), expected.ffma_per_lds_128()), (Some(1.0), None));
        assert_eq!(Counts::default().ffma_per_load(), None);
    }

    #[test]
    fn text_that_is_no_machine_code_has_no_kernels() {
        assert!(parse("").is_empty());
        assert!(parse("nvdisasm fatal : no such file\n/* */\n/*0000*/\n:\n.text.:").is_empty());
    }
}
