//! Mistakes in the kernels' PTX, which the kernel suite must notice on the interpreter: so it can fail, and looks at what it
//! should.
//!
//! For each kernel and each kind of mistake some lines are changed, one at a time, of those that the suite comes to
//! (`tests/interpreted.rs` asks that it comes to all). Mistakes that change nothing are listed with the reason.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::{Arc, LazyLock};

use kernel_suite::checks::{self, Check};
use kernel_suite::{Data, Kernels, Rig};
use libtest_mimic::{Arguments, Failed, Trial};
use ptx_interpreter::{Fault, Interpreter, Module, Order};

/// The kernels' PTX: of those for all GPUs, and of those for one architecture alone.
const PTX: [&str; 2] = [
    include_str!("../../../kernels/ptx/kernels.sm_80.ptx"),
    include_str!("../../../kernels/ptx/kernels.sm_90a.ptx"),
];

/// So many lines of each kernel at most are changed in each way.
const LINES: usize = 3;

/// Instructions of a warp: a loop that a mistake has made endless is ended.
const PATIENCE: u64 = 1 << 20;

/// A way to make a mistake: what becomes of a line; nothing where the mistake has no place.
type Mistake = fn(&str) -> Option<String>;

/// Taking nothing away is adding nothing.
const ZERO: &str = "0f00000000";

const MISTAKES: &[(&str, Mistake)] = &[
    ("barrier dropped", |line| line.starts_with("bar.sync").then(String::new)),
    ("wait dropped", |line| line.starts_with("cp.async.wait_group").then(String::new)),
    ("wait for a warpgroup's products dropped", |line| {
        line.starts_with("wgmma.wait_group").then(String::new)
    }),
    ("fence dropped", |line| {
        (line.starts_with("wgmma.fence") || line.starts_with("fence.proxy")).then(String::new)
    }),
    ("copy dropped", |line| line.starts_with("cp.async.c").then(String::new)),
    ("store dropped", |line| line.starts_with("st.").then(String::new)),
    ("own value for another lane's", |line| {
        let (result, rest) = line.strip_prefix("shfl.sync.")?.split_once(' ')?.1.split_once(", ")?;
        Some(format!("mov.b32 {result}, {};", rest.split(',').next()?))
    }),
    ("branch the other way", |line| Some(format!("@!{}", line.strip_prefix('@')?))),
    ("load of the next word", |line| {
        if !line.starts_with("ld.") || !line.contains(".b32") || line.contains(".param") {
            return None;
        }
        let (before, address) = line.strip_suffix("];")?.rsplit_once('[')?;
        let (register, offset) = address.split_once('+').unwrap_or((address, "0"));
        Some(format!("{before}[{register}+{}];", offset.parse::<i64>().ok()? + 4))
    }),
    ("difference for a sum", |line| {
        let operands = line.strip_prefix("add.rn.f32").filter(|operands| !operands.contains(ZERO))?;
        Some(format!("sub.rn.f32{operands}"))
    }),
    ("factors without the sum", |line| {
        let (operands, sum) = line.strip_prefix("fma.rn.f32")?.rsplit_once(", ")?;
        (!sum.starts_with(ZERO)).then(|| format!("mul.rn.f32{operands};"))
    }),
    ("operands of the tensor cores changed about", |line| {
        if !line.starts_with("mma.") {
            return None;
        }
        let lists: Vec<&str> = line.split('{').collect();
        let mut a: Vec<&str> = lists.get(2)?.split('}').next()?.split(", ").collect();
        let before = a.join(", ");
        a.swap(1, 2);
        Some(line.replace(&before, &a.join(", ")))
    }),
    ("matrices transposed", |line| {
        line.starts_with("ldmatrix").then(|| line.replace(".shared", ".trans.shared"))
    }),
];

/// Mistakes that make no difference: the kernel, the mistake, how many of those that are tried, and why.
const NO_DIFFERENCE: &[(&str, &str, usize, &str)] = &[
    ("sum", "barrier dropped", 1, "the array of `block_sum` is used once"),
    ("dot", "barrier dropped", 1, "the array of `block_sum` is used once"),
    ("cost", "barrier dropped", 1, "the array of `block_sum` is used once"),
    ("output_error_identity", "barrier dropped", 1, "the array of `block_sum` is used once"),
    ("output_error_sigmoid", "barrier dropped", 1, "the array of `block_sum` is used once"),
    ("output_error_softmax", "barrier dropped", 1, "the array of `block_sum` is used once"),
    (
        "output_error_sigmoid",
        "factors without the sum",
        1,
        "a term of a series that is smaller than the bound",
    ),
    ("log_loss_step", "load of the next word", 1, "the warps of a team have the same sum of errors"),
    ("squared_error_step", "load of the next word", 1, "the warps of a team have the same sum of errors"),
    (
        "cost",
        "difference for a sum",
        1,
        "there are never so many blocks that a thread's first sum is not of 0",
    ),
];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    for (name, text) in kernels() {
        trials.push(Trial::test(name, move || mutants_of(name, &text)));
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// All mistakes in a kernel.
fn mutants_of(kernel: &str, text: &str) -> Result<(), Failed> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let module = Arc::new(ours()?.with(&read(&lines)?));
    let rig = Rig { device: Interpreter::new(module, Order::Forward), guard: 0 };
    for data in Data::ALL {
        check(kernel)?.run(&rig, &Kernels::ours(), data)?;
    }
    let idle: BTreeSet<usize> = rig.device.never_ran(kernel).into_iter().map(|(line, _)| line - 1).collect();
    let mut unnoticed = String::new();
    for &(mistake, change) in MISTAKES {
        let places: Vec<usize> =
            (0..lines.len()).filter(|at| !idle.contains(at) && change(lines[*at]).is_some()).collect();
        let mut passed = 0;
        for at in spread(&places) {
            let changed = change(lines[at]).unwrap_or_default();
            let mut mutant = lines.clone();
            mutant[at] = &changed;
            if !is_noticed(kernel, &Arc::new(ours()?.with(&read(&mutant)?)))? {
                passed += 1;
                unnoticed += &format!("{mistake}: `{changed}` for `{}`\n", lines[at]);
            }
        }
        let allowed =
            NO_DIFFERENCE.iter().filter(|(name, without, ..)| *name == kernel && *without == mistake);
        if passed != allowed.map(|(_, _, count, _)| count).sum::<usize>() {
            return Err(format!("{passed} times {kernel} passes all checks with:\n{unnoticed}").into());
        }
    }
    Ok(())
}

/// At most [`LINES`] of them: the first, the last, and what is between.
fn spread(places: &[usize]) -> Vec<usize> {
    match places.len() {
        length if length <= LINES => places.to_vec(),
        length => (0..LINES).map(|index| places[index * (length - 1) / (LINES - 1)]).collect(),
    }
}

/// Each kernel's name, with a module that has it alone.
fn kernels() -> Vec<(&'static str, Arc<String>)> {
    let of_module = |ptx: &'static str| {
        let mut parts = ptx.split("\n.visible .entry ");
        let common = parts.next().unwrap_or_default();
        parts.map(move |kernel| {
            let name = kernel.split('(').next().unwrap_or_default();
            (name, Arc::new(format!("{common}\n.visible .entry {kernel}")))
        })
    };
    PTX.into_iter().flat_map(of_module).collect()
}

/// All kernels, without mistakes: a check may launch others than the one it is for.
fn ours() -> Result<&'static Module, Failed> {
    static OURS: LazyLock<Result<Module, Fault>> = LazyLock::new(|| {
        PTX.into_iter().try_fold(Module::default(), |module, ptx| Ok(module.with(&Module::of(ptx)?)))
    });
    OURS.as_ref().map_err(|fault| fault.to_string().into())
}

fn read(lines: &[&str]) -> Result<Module, Failed> {
    Module::of(&lines.join("\n")).map_err(|fault| fault.to_string().into())
}

fn check(kernel: &str) -> Result<Check<Interpreter>, Failed> {
    let check = checks::all().into_iter().find(|check| check.kernel == kernel);
    check.ok_or_else(|| "there is no check of this kernel".into())
}

/// Whether the kernel's check fails.
fn is_noticed(kernel: &str, module: &Arc<Module>) -> Result<bool, Failed> {
    let check = check(kernel)?;
    Ok([Order::Forward, Order::Backward].into_iter().any(|order| {
        Data::ALL.into_iter().any(|data| {
            let device = Interpreter::new(Arc::clone(module), order).with_patience(PATIENCE);
            check.run(&Rig { device, guard: 0 }, &Kernels::ours(), data).is_err()
        })
    }))
}
