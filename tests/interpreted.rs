//! The kernel suite on the PTX itself, by an interpreter: what the compiler made of the kernels, and the assembly that the
//! emulator never sees. (Not in tests/kernels.rs, which has to be small: it is carried to machines with a GPU.)

use std::process::ExitCode;
use std::sync::{Arc, LazyLock};

use cuda_std::Emulator;
use kernel_suite::checks::{self, Check};
use kernel_suite::{Data, Kernels, Rig};
use libtest_mimic::{Arguments, Failed, Trial};
use ptx_interpreter::{Interpreter, Module, Order};
use tilegrad::cuda::ptx::PTX_MODULES;

/// The order in which a block's warps run must not matter.
const ORDERS: [Order; 2] = [Order::Forward, Order::Backward];

/// The modules that this program carries, read once and put together: each kernel is in one of them.
static MODULE: LazyLock<Result<Arc<Module>, String>> = LazyLock::new(|| {
    let mut module = Module::default();
    for (_, text) in PTX_MODULES.iter() {
        module = module.with(&Module::of(text).map_err(|fault| fault.to_string())?);
    }
    Ok(Arc::new(module))
});

/// Lines that no launch comes to, and branches that none takes: of the kernels whose names begin so, how many, and why. The
/// first that fits counts. (A branch without a guard is such a line where what stands before it always branches.)
const IDLE: &[(&str, usize, &str)] = &[
    ("column_moments_finish", 4, "sets of no values are merged with more only"),
    ("column_moments", 2, "sets of no values are merged with more only"),
    ("squared_error_step", 3, "a shape that is not this kernel's, a 33rd lane, a third half of eight sums"),
    ("log_loss_step", 3, "a shape that is not this kernel's, a 33rd lane, a third half of eight sums"),
    ("matmul_tf32_tn", 9, "a grid without tiles; products without k that are not finite, and their way on"),
    ("matmul_bf16_tn", 9, "a grid without tiles; products without k that are not finite, and their way on"),
    (
        "matmul_tf32x3_tn",
        10,
        "a grid without tiles; products without k that are not finite, and their way on",
    ),
    ("matmul_wgmma_tn", 8, "a grid without tiles; products without k that are not finite, and their way on"),
    ("matmul_wgmma", 2, "a grid without tiles; products without k that are not finite"),
    ("matmul_tf32x3", 4, "a grid without tiles; products without k, and such that are not finite"),
    ("matmul_tf32", 3, "a grid without tiles; products without k that are not finite"),
    ("matmul_bf16", 3, "a grid without tiles; products without k that are not finite"),
    (
        "matmul_split_k_finish",
        29,
        "a grid without tiles; a ragged end of four and more, as the compiler unrolls",
    ),
    ("matmul_", 1, "a grid without tiles"),
    ("dense_split_k", 29, "a grid without tiles; a ragged end of four and more, as the compiler unrolls"),
    ("dense_wgmma", 2, "a grid without tiles; products without k that are not finite"),
    ("dense_tf32x3", 4, "a grid without tiles; products without k, and such that are not finite"),
    ("dense_tf32", 3, "a grid without tiles; products without k that are not finite"),
    ("dense_bf16", 3, "a grid without tiles; products without k that are not finite"),
    ("dense_", 1, "a grid without tiles"),
    ("network", 15, "grids of 2³² tiles, and of none"),
    ("cost", 1, "more partial sums than there are blocks"),
];

/// The suite comes to every line of the kernel, but for those of [`IDLE`].
fn every_line(check: &Check<Interpreter>) -> Result<(), Failed> {
    let rig = rig(&module()?, Order::Forward);
    for data in Data::ALL {
        check.run(&rig, &Kernels::ours(), data)?;
    }
    let idle = rig.device.never_ran(check.kernel);
    let allowed = IDLE.iter().find(|(kernels, ..)| check.kernel.starts_with(kernels));
    if idle.len() != allowed.map_or(0, |(_, lines, _)| *lines) {
        let lines: String = idle.iter().map(|(line, text)| format!("\n{line}: {text}")).collect();
        return Err(format!("no launch of the suite comes to {} lines:{lines}", idle.len()).into());
    }
    Ok(())
}

fn module() -> Result<Arc<Module>, Failed> {
    MODULE.clone().map_err(Failed::from)
}

fn rig(module: &Arc<Module>, order: Order) -> Rig<Interpreter> {
    Rig { device: Interpreter::new(Arc::clone(module), order), guard: 0 }
}

/// The suite passes in each order, with the same bits, which are the emulator's where no instruction is approximate.
fn same_bits(check: &Check<Interpreter>, emulated: &Check<Emulator>, data: Data) -> Result<(), Failed> {
    let kernels = Kernels::ours();
    let mut digests = Vec::new();
    for order in ORDERS {
        digests.push(check.run(&rig(&module()?, order), &kernels, data)?.digest());
    }
    if !check.approximate {
        digests.push(emulated.run(&Rig::emulator(cuda_std::Order::Forward), &kernels, data)?.digest());
    }
    match digests.iter().all(|digest| *digest == digests[0]) {
        true => Ok(()),
        false => Err("not the same bits in each order and on the emulator".into()),
    }
}

fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for (check, emulated) in checks::all::<Interpreter>().into_iter().zip(checks::all::<Emulator>()) {
        let kernel = check.kernel;
        trials.extend(Data::ALL.map(|data| {
            Trial::test(format!("{kernel}/{}/ptx", data.name()), move || same_bits(&check, &emulated, data))
        }));
        trials.push(Trial::test(format!("{kernel}/every-line/ptx"), move || every_line(&check)));
    }
    trials
}

fn main() -> ExitCode {
    libtest_mimic::run(&Arguments::from_args(), trials()).exit_code()
}
