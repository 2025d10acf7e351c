//! `cargo xtask kernels`: the prebuilt PTX.

use std::path::Path;

use cuda_builder::{ARCHITECTURES, CudaBuilder, Manifest, Module, Search, source_hash};

use super::{Result, target_folder, workspace};

/// Compiles the kernels and writes `kernels/ptx/`.
pub fn refresh() -> Result<()> {
    let workspace = workspace()?;
    let kernels = workspace.join("kernels");
    let modules = build(&workspace)?;
    let manifest = Manifest::write(&kernels.join("ptx"), &source_hash(&kernels)?, &modules)?;
    for module in &manifest.modules {
        println!("kernels/ptx/{}: {} kernels, {}", module.file, module.entries.len(), manifest.compiler);
    }
    Ok(())
}

/// Compiles the kernels and compares them with `kernels/ptx/`.
///
/// Another compiler may give other PTX; then only the manifest is checked, and this is said.
pub fn verify() -> Result<()> {
    let workspace = workspace()?;
    let kernels = workspace.join("kernels");
    let manifest = Manifest::read(&kernels.join("ptx"))?;
    let prebuilt = manifest.modules(&kernels.join("ptx"))?;
    if !manifest.is_current(&source_hash(&kernels)?) {
        return Err("kernels/ptx is older than the kernels' sources: run `cargo xtask kernels`".into());
    }
    let modules = build(&workspace)?;
    if prebuilt.len() != modules.len() {
        return Err("kernels/ptx is not of today's architectures: run `cargo xtask kernels`".into());
    }
    for ((arch, text), module) in prebuilt.iter().zip(&modules) {
        if manifest.compiler != module.compiler {
            println!("{arch}: not compared: prebuilt by {}, here is {}", manifest.compiler, module.compiler);
        } else if *arch != module.arch || *text != module.ptx {
            let line = text.lines().zip(module.ptx.lines()).position(|(old, new)| old != new);
            let line = line.map_or("the last".to_string(), |line| (line + 1).to_string());
            return Err(format!(
                "kernels/ptx is not what {} makes of these sources for {arch}: it differs from line {line} on; run \
                 `cargo xtask kernels`",
                module.compiler
            )
            .into());
        } else {
            println!("{arch}: the same as built from source by {}", module.compiler);
        }
    }
    Ok(())
}

fn build(workspace: &Path) -> Result<Vec<Module>> {
    let compiler = Search::from_environment().find()?;
    let folder = target_folder(workspace)?.join("nvptx");
    let mut modules = Vec::new();
    for arch in ARCHITECTURES {
        let builder = CudaBuilder::new(workspace.join("kernels")).arch(arch).target_folder(&folder);
        let module = builder.compiler(compiler.clone()).build()?;
        if module.messages.contains("warning: ") {
            return Err(format!("the kernels compile for {arch} with warnings:\n{}", module.messages).into());
        }
        modules.push(module);
    }
    Ok(modules)
}
