//! `cargo xtask check` with a pretend compiler, pretend tools of NVIDIA's, and a workspace of one kernel.
#![cfg(unix)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use cuda_builder::{Manifest, Module, entries, finish};
use tempfile::TempDir;

const PTX: &str =
    "//@launch f .maxntid 64, 1, 1\n.visible .entry f(\n\t.param .u32 f_param_0\n)\n{\n\tret;\n}\n";

fn file(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn executable(path: &Path, script: &str) {
    file(path, &format!("#!/bin/sh\n{script}\n"));
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// ptxas or nvdisasm of this version, which says `about` of what it is given.
fn tool(path: &Path, version: &str, about: &str) {
    executable(
        path,
        &format!(
            "case $1 in --version) echo 'Cuda compilation tools, release 13, V{version}';;\n*) cat <<'END'\n{about}\nEND\nesac"
        ),
    );
}

/// The workspace, with its compiler and tools.
fn machine() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for name in ["kernels/cuda_builder/Cargo.toml", "kernels/cuda_std/Cargo.toml"] {
        file(&root.join(name), "");
    }
    let ptx = finish(PTX).unwrap();
    let (entries, arch) = (entries(&ptx).unwrap(), "sm_80".to_owned());
    let module = Module { arch, ptx, entries, compiler: "rustc".to_owned(), messages: String::new() };
    Manifest::write(&root.join("kernels/ptx"), "sources", &[module]).unwrap();

    // The cargo of the workspace says where the target folder is.
    let target = format!("{{\"target_directory\": \"{}\"}}", root.join("target").display());
    executable(&root.join("cargo"), &format!("echo '{target}'"));
    let compiler = root.join("compiler");
    let rustc = format!(
        "case $1 in -vV) printf 'rustc 1.96.0\\nrelease: 1.96.0\\n';; *) echo '{}';; esac",
        compiler.display()
    );
    executable(&compiler.join("bin/rustc"), &rustc);
    file(&root.join("example.s"), PTX);
    let cargo = format!(
        "while [ \"$1\" != --target-dir ]; do shift; done\n\
         mkdir -p \"$2/nvptx64-nvidia-cuda/release/examples\"\n\
         cp '{}' \"$2/nvptx64-nvidia-cuda/release/examples/every_function-0.s\"",
        root.join("example.s").display()
    );
    executable(&compiler.join("bin/cargo"), &cargo);
    file(&compiler.join("lib/rustlib/src/rust/library/core/src/lib.rs"), "");
    tools(root, "13.0.88", 8);
    tool(&root.join("nvdisasm"), "13.2.78", ".text.f:\n/*0000*/ EXIT ;");
    folder
}

/// A ptxas of this version that gives the kernel so many registers.
fn tools(root: &Path, version: &str, registers: u32) {
    let about = format!(
        "ptxas info : Compiling entry function 'f' for 'sm_80'\nptxas info : Used {registers} registers, 0 bytes smem"
    );
    tool(&root.join("ptxas"), version, &about);
}

/// Whether a check with these arguments succeeds, and what it says.
fn check(root: &Path, arguments: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_cuda_builder"))
        .arg("check")
        .args(arguments)
        .env("CARGO_MANIFEST_DIR", root.join("kernels/cuda_builder"))
        .env("CARGO", root.join("cargo"))
        .env("TILEGRAD_DEVICE_RUSTC", root.join("compiler/bin/rustc"))
        // Each compiler that is found is asked for its version, which takes longer than all else.
        .env("RUSTC", root.join("compiler/bin/rustc"))
        .env("RUSTUP_HOME", root)
        .env("PTXAS", root.join("ptxas"))
        .env("NVDISASM", root.join("nvdisasm"))
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

#[test]
fn only_an_exact_check_refuses_other_tools() {
    let machine = machine();
    let root = machine.path();
    let (passes, said) = check(root, &["--exact"]);
    assert!(!passes && said.contains("`cargo xtask check --refresh` writes it"), "no table: {said}");
    let (passes, said) = check(root, &["--refresh"]);
    assert!(passes, "{said}");
    for arguments in [&[][..], &["--exact"]] {
        let (passes, said) = check(root, arguments);
        assert!(passes && !said.contains("NOT COMPARED"), "{said}");
    }

    // The same tools, another result.
    tools(root, "13.0.88", 9);
    for arguments in [&[][..], &["--exact"]] {
        let (passes, said) = check(root, arguments);
        assert!(!passes && said.contains("has other lines"), "{said}");
    }

    // Other tools: what they make of the kernel is no matter.
    tools(root, "13.1.1", 9);
    let (passes, said) = check(root, &[]);
    assert!(passes && said.contains("NOT COMPARED"), "{said}");
    let (passes, said) = check(root, &["--exact"]);
    let versions = "by ptxas V13.0.88, nvdisasm V13.2.78, this is by ptxas V13.1.1, nvdisasm V13.2.78";
    assert!(!passes && said.contains(versions) && said.contains("PTXAS"), "{said}");

    tools(root, "13.0.88", 8);
    tool(&root.join("nvdisasm"), "13.3.1", ".text.f:\n/*0000*/ EXIT ;");
    let (passes, said) = check(root, &["--exact"]);
    assert!(!passes && said.contains("nvdisasm V13.3.1: NOT COMPARED"), "{said}");
}
