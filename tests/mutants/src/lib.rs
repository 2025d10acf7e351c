//! Kernels with one mistake each, made by the build script from the list in `mutations.rs`.

use kernel_suite::Kernels;

/// A kernel with a mistake.
pub struct Mutant {
    /// The kernel.
    pub kernel: &'static str,
    /// The file that the mistake is in: the kernel's own or one that it uses.
    pub file: &'static str,
    /// The mistake.
    pub name: &'static str,
    /// Puts the mutant into the kernel's place.
    pub install: fn(&mut Kernels),
}

include!(concat!(env!("OUT_DIR"), "/mutants.rs"));
