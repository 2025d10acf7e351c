//! `cargo xtask check`: what can be known of the kernels without a GPU, from NVIDIA's assembler.
//!
//! A kernel that needs a stack or spills registers is correct and many times slower, and nothing else shows it.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cuda_builder::{CudaBuilder, Entry, Manifest};

use super::{Result, target_folder, workspace};

/// The architectures that the PTX is assembled for: the oldest that is supported, and Hopper.
const ASSEMBLED: [&str; 2] = ["sm_80", "sm_90"];
/// The example of `cuda_std` that calls everything that a kernel may call.
const EXAMPLE: &str = "every_function";

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

/// Assembles `kernels/ptx/`, and an example that calls everything that a kernel may call, and prints a table; any
/// finding is an error.
pub fn check() -> Result<()> {
    let workspace = workspace()?;
    let target = target_folder(&workspace)?;
    let ptxas = find_ptxas(&target)?;
    let folder = workspace.join("kernels/ptx");
    let manifest = Manifest::read(&folder)?;
    manifest.modules(&folder)?;
    let mut findings = Vec::new();
    for module in &manifest.modules {
        findings.extend(assemble(&ptxas, &folder.join(&module.file), &module.entries)?);
    }
    let nvptx = target.join("nvptx");
    let builder = CudaBuilder::new(workspace.join("kernels/cuda_std")).example(EXAMPLE).target_folder(&nvptx);
    let example = builder.build()?;
    let path = nvptx.join(format!("{EXAMPLE}.ptx"));
    fs::write(&path, &example.ptx).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    findings.extend(assemble(&ptxas, &path, &example.entries)?);
    if findings.is_empty() {
        println!("no stack, no spills, no warnings, registers within the launch bounds");
        return Ok(());
    }
    Err(format!("{} findings:\n  {}", findings.len(), findings.join("\n  ")).into())
}

/// Assembles one file for each architecture, prints what its kernels use, and returns what is wrong.
fn assemble(ptxas: &Path, path: &Path, entries: &[Entry]) -> Result<Vec<String>> {
    let name = path.file_name().unwrap_or_default().display();
    let mut findings = Vec::new();
    for arch in ASSEMBLED {
        let output = Command::new(ptxas)
            .args(["--verbose", "--gpu-name", arch, "--output-file"])
            .arg(if cfg!(windows) { "NUL" } else { "/dev/null" })
            .arg(path)
            .output()
            .map_err(|error| format!("cannot start {}: {error}", ptxas.display()))?;
        let said = [output.stderr, output.stdout].concat();
        let said = String::from_utf8_lossy(&said);
        if !output.status.success() {
            return Err(format!("ptxas refuses {name} for {arch}:\n{said}").into());
        }
        let uses = parse(&said);
        println!("{name} for {arch}");
        println!(
            "  {:<24} {:>9} {:>9} {:>12} {:>6} {:>6}",
            "kernel", "registers", "threads", "shared bytes", "stack", "spills"
        );
        for entry in entries {
            let Some(used) = uses.get(&entry.name) else {
                findings.push(format!("{arch}: ptxas says nothing of {}", entry.name));
                continue;
            };
            let threads = entry.max_threads.map_or(0, product);
            let Use { registers, shared_bytes, stack_bytes, spill_bytes } = used;
            println!(
                "  {:<24} {registers:>9} {threads:>9} {shared_bytes:>12} {stack_bytes:>6} {spill_bytes:>6}",
                entry.name
            );
            findings.extend(
                findings_of(entry, used).into_iter().map(|what| format!("{arch}: {}: {what}", entry.name)),
            );
        }
        findings.extend(remarks(&said).map(|line| format!("{arch}: {line}")));
    }
    Ok(findings)
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

/// ptxas: named by `PTXAS`, on the path, in CUDA's usual folder, or in a wheel of NVIDIA's for Python that was
/// installed for the Python on the path or into the folder `ptxas` of the target folder.
fn find_ptxas(target: &Path) -> Result<PathBuf> {
    if let Some(named) = env::var_os("PTXAS").filter(|value| !value.is_empty()) {
        return Ok(PathBuf::from(named));
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let plain = env::split_paths(&path)
        .chain([PathBuf::from("/usr/local/cuda/bin")])
        .map(|folder| folder.join("ptxas"));
    let sites = [target.join("ptxas")].into_iter().chain(python_sites());
    let in_wheels = sites.flat_map(|site| {
        let packages = fs::read_dir(site.join("nvidia")).into_iter().flatten().flatten();
        packages.map(|package| package.path().join("bin/ptxas"))
    });
    plain.chain(in_wheels).find(|program| program.is_file()).ok_or_else(|| {
        "no ptxas: it comes with the CUDA toolkit and with `pip install nvidia-cuda-nvcc`; name it in PTXAS".into()
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
