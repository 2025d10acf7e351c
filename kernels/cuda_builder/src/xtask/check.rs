//! `cargo xtask check`: what can be known of the kernels without a GPU, from NVIDIA's assembler and disassembler.
//!
//! A kernel that needs a stack or spills registers, or whose main loop got an instruction more, is correct and slower,
//! and nothing else shows it.

use std::collections::BTreeMap;
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cuda_builder::{ARCHITECTURES, CudaBuilder, Entry, Manifest};

use super::sass::{self, Code};
use super::{Result, run, target_folder, workspace};

/// The example of `cuda_std` that calls everything that a kernel may call.
const EXAMPLE: &str = "every_function";
/// The table that a check compares with, in the workspace.
const TABLE: &str = "kernels/sass.txt";

/// Registers of a multiprocessor, and how many a warp is given at a time (compute capability 8.0 and 9.0).
const REGISTERS: u64 = 65_536;
const REGISTERS_AT_ONCE: u64 = 256;
const WARP: u64 = 32;

/// What ptxas says of one kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Use {
    registers: u32,
    shared_bytes: u32,
    stack_bytes: u32,
    spill_bytes: u32,
}

/// What is done with [`TABLE`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// It is compared. One by other tools is not, which is said.
    Compare,
    /// It is compared. One by other tools is a finding, so that what passes has been compared.
    Exact,
    /// It is written anew.
    Refresh,
}

/// NVIDIA's programs, and a folder for what they write.
struct Tools {
    ptxas: PathBuf,
    nvdisasm: PathBuf,
    folder: PathBuf,
}

/// Assembles `kernels/ptx/`, and an example that calls everything that a kernel may call, and prints a table; any
/// finding is an error, and so is a table other than [`TABLE`], unless that is written anew.
pub fn check(kept: Kept) -> Result<()> {
    let workspace = workspace()?;
    let target = target_folder(&workspace)?;
    let tools = Tools {
        ptxas: find("ptxas", "PTXAS", "nvidia-cuda-nvcc", &target)?,
        nvdisasm: find("nvdisasm", "NVDISASM", "nvidia-cuda-nvdisasm", &target)?,
        folder: target.join("nvptx"),
    };
    let folder = workspace.join("kernels/ptx");
    let manifest = Manifest::read(&folder)?;
    manifest.modules(&folder)?;
    let mut findings = Vec::new();
    let version = |program: &Path| run(Command::new(program).arg("--version"));
    let mut table = head(&version(&tools.ptxas)?, &version(&tools.nvdisasm)?);
    for arch in ARCHITECTURES {
        let builder = CudaBuilder::new(workspace.join("kernels/cuda_std")).arch(arch).example(EXAMPLE);
        let example = builder.target_folder(&tools.folder).build()?;
        let path = tools.folder.join(format!("{EXAMPLE}.{arch}.ptx"));
        fs::write(&path, &example.ptx)
            .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        assemble(&tools, arch, (&path, &example.entries), &mut String::new(), &mut findings)?;
    }
    for module in &manifest.modules {
        let file = folder.join(&module.file);
        assemble(&tools, &module.arch, (&file, &module.entries), &mut table, &mut findings)?;
    }
    print!("{table}");
    let path = workspace.join(TABLE);
    if kept == Kept::Refresh {
        fs::write(&path, &table).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    } else {
        let before = fs::read_to_string(&path).map_err(|error| {
            format!("cannot read {}: {error}; `cargo xtask check --refresh` writes it", path.display())
        })?;
        findings.extend(compare(&before, &table, kept == Kept::Exact));
    }
    if findings.is_empty() {
        println!("no stack, no spills, no warnings, registers within the launch bounds");
        return Ok(());
    }
    Err(format!("{} findings:\n  {}", findings.len(), findings.join("\n  ")).into())
}

/// The table's lines above the kernels', from what the tools say of themselves.
fn head(ptxas: &str, nvdisasm: &str) -> String {
    let [ptxas, nvdisasm] = [ptxas, nvdisasm]
        .map(|said| said.split_whitespace().rfind(|word| word.starts_with('V')).unwrap_or("unknown"));
    format!(
        "\
# What NVIDIA's assembler makes of the kernels: of each kernel, and of its main loop (all of it, if it has none).
#
# registers, shared     a thread's, and a block's bytes that are known when it is assembled
# all                   the kernel's instructions
# loop                  instructions of the main loop, both sides of its branches; the columns after it count some of them
# ffma, hmma, float     fused multiply-adds, products of matrices by tensor cores (HMMA, HGMMA), other arithmetic in f32
# ldg, copy             loads from global memory, and copies from it to shared memory
# lds, lds16, ldsm      loads from shared memory: of up to 8 bytes, of 16 bytes, of matrices
# sts, bar              stores to shared memory, barriers
# ffma/load, hmma/load  those for each load or copy; what HGMMA reads of shared memory itself is no load
# ffma/lds16            multiply-adds for each load of 16 bytes from shared memory; -: no such loads
#
# Made by `cargo xtask check --refresh`; `cargo xtask check` compares. The tools: ptxas {ptxas}, nvdisasm {nvdisasm}
{:<7} {:<28} {:>9} {:>6} {:>6} {:>6} {:>5} {:>5} {:>5} {:>4} {:>4} {:>4} {:>5} {:>4} {:>4} {:>4} {:>9} {:>10} {:>9}
",
        "for",
        "kernel",
        "registers",
        "shared",
        "all",
        "loop",
        "ffma",
        "hmma",
        "float",
        "ldg",
        "copy",
        "lds",
        "lds16",
        "ldsm",
        "sts",
        "bar",
        "ffma/load",
        "ffma/lds16",
        "hmma/load"
    )
}

/// A kernel's line of the table.
fn line(arch: &str, name: &str, used: &Use, code: &Code) -> String {
    let Use { registers, shared_bytes, .. } = used;
    let Code { instructions, main_loop: counts } = code;
    let each = |ratio: Option<f64>| ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
    format!(
        "{arch:<7} {name:<28} {registers:>9} {shared_bytes:>6} {instructions:>6} {:>6} {:>5} {:>5} {:>5} {:>4} {:>4} \
         {:>4} {:>5} {:>4} {:>4} {:>4} {:>9} {:>10} {:>9}",
        counts.instructions,
        counts.ffma,
        counts.hmma,
        counts.float,
        counts.ldg,
        counts.ldgsts,
        counts.lds,
        counts.lds_128,
        counts.ldsm,
        counts.sts,
        counts.bar,
        each(counts.ffma_per_load()),
        each(counts.ffma_per_lds_128()),
        each(counts.hmma_per_load()),
    )
}

/// What differs between the table that is kept and the kernels as they are. Tables by other tools cannot be compared; that is
/// a difference if `exact`.
fn compare(kept: &str, table: &str, exact: bool) -> Vec<String> {
    let tools = |table: &str| {
        let named = table.lines().find_map(|line| line.split("The tools: ").nth(1));
        named.unwrap_or("unknown tools").to_owned()
    };
    let (theirs, ours) = (tools(kept), tools(table));
    if theirs != ours {
        let difference = format!("{TABLE} is by {theirs}, this is by {ours}: NOT COMPARED");
        if exact {
            return vec![format!(
                "{difference}; name those in PTXAS and NVDISASM, or `cargo xtask check --refresh` writes it by these"
            )];
        }
        println!("{difference}");
        return Vec::new();
    }
    let of_kernels = |table: &str| -> BTreeMap<String, String> {
        let lines = table.lines().filter(|line| !line.starts_with('#'));
        lines
            .map(|line| (line.split_whitespace().take(2).collect::<Vec<_>>().join(" "), line.to_owned()))
            .collect()
    };
    let (before, now) = (of_kernels(kept), of_kernels(table));
    let mut differences = String::new();
    for kernel in before.keys().chain(now.keys().filter(|kernel| !before.contains_key(*kernel))) {
        let (before, now) = (before.get(kernel), now.get(kernel));
        if before != now {
            for (sign, line) in [('-', before), ('+', now)] {
                // Writing to a text does not fail.
                let _ = line.map(|line| write!(differences, "\n    {sign} {line}"));
            }
        }
    }
    if differences.is_empty() {
        return Vec::new();
    }
    vec![format!(
        "{TABLE} has other lines (- there, + the kernels as they are); where that is no loss, \
         `cargo xtask check --refresh` writes it:{differences}"
    )]
}

/// Assembles PTX for `of` for each architecture that takes it, adds its kernels' lines to `table`, and what is wrong to
/// `findings`.
fn assemble(
    tools: &Tools,
    of: &str,
    (path, entries): (&Path, &[Entry]),
    table: &mut String,
    findings: &mut Vec<String>,
) -> Result<()> {
    let name = path.file_name().unwrap_or_default().display();
    let cubin = tools.folder.join("check.cubin");
    // What ends with a letter is for that architecture alone.
    let alone = of.ends_with(|c: char| c.is_ascii_alphabetic());
    for arch in ARCHITECTURES.into_iter().filter(|&arch| arch == of || !alone) {
        let output = Command::new(&tools.ptxas)
            .args(["--verbose", "--gpu-name", arch, "--output-file"])
            .args([&cubin, path])
            .output()
            .map_err(|error| format!("cannot start {}: {error}", tools.ptxas.display()))?;
        let said = [output.stderr, output.stdout].concat();
        let said = String::from_utf8_lossy(&said);
        if !output.status.success() {
            return Err(format!("ptxas refuses {name} for {arch}:\n{said}").into());
        }
        let uses = parse(&said);
        let codes = sass::parse(&run(Command::new(&tools.nvdisasm).arg("--print-code").arg(&cubin))?);
        for entry in entries {
            let (Some(used), Some(code)) = (uses.get(&entry.name), codes.get(&entry.name)) else {
                findings.push(format!("{arch}: ptxas or nvdisasm says nothing of {}", entry.name));
                continue;
            };
            *table += &line(arch, &entry.name, used, code);
            table.push('\n');
            findings.extend(
                findings_of(entry, used).into_iter().map(|what| format!("{arch}: {}: {what}", entry.name)),
            );
        }
        findings.extend(remarks(&said).map(|line| format!("{arch}: {line}")));
    }
    Ok(())
}

/// What is wrong with a kernel that needs this.
fn findings_of(entry: &Entry, used: &Use) -> Vec<String> {
    let mut findings = Vec::new();
    if used.stack_bytes > 0 {
        findings.push(format!("needs a stack of {} bytes", used.stack_bytes));
    }
    if used.spill_bytes > 0 {
        findings.push(format!("spills {} bytes", used.spill_bytes));
    }
    let Some(threads) = entry.max_threads else {
        findings.push("has no launch bounds".to_string());
        return findings;
    };
    let warps = product(threads).div_ceil(WARP);
    let blocks = u64::from(entry.min_blocks.unwrap_or(1));
    let registers = (u64::from(used.registers) * WARP).next_multiple_of(REGISTERS_AT_ONCE) * warps * blocks;
    if registers > REGISTERS {
        findings.push(format!(
            "{blocks} blocks of {warps} warps need {registers} registers, and there are {REGISTERS}"
        ));
    }
    findings
}

fn product(threads: [u32; 3]) -> u64 {
    threads.into_iter().map(u64::from).product()
}

/// What ptxas says besides figures: warnings, and its advice on matrix instructions (C75xx).
fn remarks(said: &str) -> impl Iterator<Item = &str> {
    let names_a_kernel =
        |line: &str| line.contains("Compiling entry function") || line.contains("Function properties");
    let remark =
        |line: &str| ["warning", "error", "(C75", "Potential"].iter().any(|word| line.contains(word));
    said.lines().map(str::trim).filter(move |line| !names_a_kernel(line) && remark(line))
}

/// The figures for each kernel in the output of `ptxas --verbose`.
fn parse(said: &str) -> BTreeMap<String, Use> {
    let mut uses = BTreeMap::<String, Use>::new();
    let mut current = String::new();
    for line in said.lines() {
        if let Some((_, rest)) = line.split_once("Compiling entry function '") {
            current = rest.split('\'').next().unwrap_or_default().to_string();
            uses.entry(current.clone()).or_default();
        }
        let Some(used) = uses.get_mut(&current) else { continue };
        for part in line.rsplit(": ").next().unwrap_or_default().split(',') {
            let words: Vec<&str> = part.split_whitespace().collect();
            match words[..] {
                ["Used", count, "registers"] => used.registers = count.parse().unwrap_or(u32::MAX),
                [count, "bytes", "smem"] => used.shared_bytes = count.parse().unwrap_or(u32::MAX),
                [count, "bytes", "stack", "frame"] => used.stack_bytes = count.parse().unwrap_or(u32::MAX),
                [count, "bytes", "spill", _] => {
                    used.spill_bytes = used.spill_bytes.saturating_add(count.parse().unwrap_or(u32::MAX));
                }
                _ => {}
            }
        }
    }
    uses
}

/// One of NVIDIA's programs: named by the environment's `variable`, on the path, in CUDA's usual folder, or in a wheel
/// of NVIDIA's for Python that was installed for the Python on the path or into the folder `ptxas` of the target folder.
fn find(program: &str, variable: &str, wheel: &str, target: &Path) -> Result<PathBuf> {
    if let Some(named) = env::var_os(variable).filter(|value| !value.is_empty()) {
        return Ok(PathBuf::from(named));
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let plain = env::split_paths(&path)
        .chain([PathBuf::from("/usr/local/cuda/bin")])
        .map(|folder| folder.join(program));
    let sites = [target.join("ptxas")].into_iter().chain(python_sites());
    let in_wheels = sites.flat_map(|site| {
        let packages = fs::read_dir(site.join("nvidia")).into_iter().flatten().flatten();
        packages.map(|package| package.path().join("bin").join(program))
    });
    plain.chain(in_wheels).find(|path| path.is_file()).ok_or_else(|| {
        format!(
            "no {program}: it comes with the CUDA toolkit and with `pip install {wheel}`; name it in {variable}"
        )
        .into()
    })
}

/// The folders where Python keeps packages.
fn python_sites() -> Vec<PathBuf> {
    let script = "import site, sys; print('\\n'.join(sys.path + [site.getusersitepackages()]))";
    let output = Command::new("python3").args(["-c", script]).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().filter(|line| !line.is_empty()).map(PathBuf::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "\
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'error' for 'sm_80'
ptxas info    : Function properties for error
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 10 registers, used 0 barriers, 376 bytes cmem[0]
ptxas info    : Compile time = 1.807 ms
ptxas info    : Compiling entry function 'sum' for 'sm_80'
ptxas info    : Function properties for sum
    16 bytes stack frame, 8 bytes spill stores, 12 bytes spill loads
ptxas info    : Used 255 registers, used 1 barriers, 1024 bytes smem, 384 bytes cmem[0]
";

    fn entry(threads: [u32; 3], blocks: Option<u32>) -> Entry {
        let (name, parameters) = ("sum".to_string(), Vec::new());
        Entry { name, parameters, max_threads: Some(threads), min_blocks: blocks }
    }

    #[test]
    fn figures_are_read() {
        let uses = parse(SAID);
        assert_eq!(uses["error"], Use { registers: 10, ..Use::default() });
        assert_eq!(uses["sum"], Use { registers: 255, shared_bytes: 1024, stack_bytes: 16, spill_bytes: 20 });
        assert!(parse("").is_empty());
    }

    #[test]
    fn stack_spills_and_registers_are_found() {
        let uses = parse(SAID);
        assert!(findings_of(&entry([256, 1, 1], None), &uses["error"]).is_empty());
        let findings = findings_of(&entry([32, 9, 1], None), &uses["sum"]);
        assert_eq!(findings.len(), 3, "{findings:?}");
        assert!(findings[2].contains("73728 registers"), "{findings:?}");
        let unbounded = Entry { max_threads: None, ..entry([1, 1, 1], None) };
        assert_eq!(findings_of(&unbounded, &uses["error"]), ["has no launch bounds"]);
    }

    #[test]
    fn blocks_that_have_to_fit_count() {
        let used = Use { registers: 64, ..Use::default() };
        assert!(findings_of(&entry([512, 1, 1], Some(2)), &used).is_empty());
        assert_eq!(findings_of(&entry([512, 1, 1], Some(3)), &used).len(), 1);
    }

    #[test]
    fn a_table_by_other_tools_is_not_compared() {
        let table = |version: &str, registers: u32| {
            let used = Use { registers, ..Use::default() };
            let code = Code { instructions: 3, main_loop: Default::default() };
            let version = format!("ptxas: NVIDIA (R) Ptx optimizing assembler\nrelease 13.0, V{version}\n");
            head(&version, "V13.2.78") + &line("sm_80", "sum", &used, &code) + "\n"
        };
        for exact in [false, true] {
            assert!(compare(&table("13.0.88", 40), &table("13.0.88", 40), exact).is_empty());
            assert_eq!(compare(&table("13.0.88", 40), &table("13.0.88", 41), exact).len(), 1);
        }
        assert!(compare(&table("13.0.88", 40), &table("13.1.1", 41), false).is_empty());
        let [other] = &compare(&table("13.0.88", 40), &table("13.1.1", 40), true)[..] else {
            panic!("other tools are a finding where the check is exact")
        };
        let tools = "by ptxas V13.0.88, nvdisasm V13.2.78, this is by ptxas V13.1.1, nvdisasm V13.2.78";
        assert!(other.contains(tools) && other.contains("PTXAS"), "{other}");
        let [difference] = &compare(&table("13.0.88", 40), &table("13.0.88", 41), false)[..] else {
            panic!("a register more is a finding")
        };
        let lines: Vec<&str> = difference.lines().map(str::trim).skip(1).collect();
        assert!(lines[0].starts_with("- sm_80   sum") && lines[1].starts_with("+ sm_80   sum"), "{lines:?}");
        let none = head("V13.0.88", "V13.2.78");
        assert_eq!(compare(&table("13.0.88", 40), &none, false).len(), 1, "a kernel that is gone");
        assert_eq!(compare(&none, &table("13.0.88", 40), false).len(), 1, "a new kernel");
    }

    #[test]
    fn warnings_and_advice_are_remarks() {
        assert_eq!(remarks(SAID).count(), 0);
        for line in [
            "ptxas warning : Stack size cannot be determined",
            "ptxas info    : (C7518) Potential Performance Loss: wgmma.mma_async instructions are serialized",
        ] {
            assert_eq!(remarks(&format!("{SAID}{line}\n")).collect::<Vec<_>>(), [line]);
        }
    }
}
