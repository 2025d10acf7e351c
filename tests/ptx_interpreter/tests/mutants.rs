//! Mistakes in the kernels' PTX, which the kernel suite must notice on the interpreter: so it can fail, and looks at what it
//! should.
//!
//! For each kernel and each kind of mistake some lines are changed, one at a time. What no check can notice, since the
//! kernel does the same without it, is listed with the reason.

use std::process::ExitCode;
use std::sync::Arc;

use kernel_suite::{Data, Kernels, Rig, checks};
use libtest_mimic::{Arguments, Failed, Trial};
use ptx_interpreter::{Interpreter, Module, Order};

/// The kernels' PTX.
const PTX: &str = include_str!("../../../kernels/ptx/kernels.sm_80.ptx");

/// So many lines of each kernel at most are changed in each way.
const LINES: usize = 3;

/// Instructions of a warp between barriers: a loop that a mistake has made endless is ended.
const PATIENCE: u64 = 1 << 20;

/// A way to make a mistake: what becomes of a line; nothing where the mistake has no place.
type Mistake = fn(&str) -> Option<String>;

const MISTAKES: &[(&str, Mistake)] = &[
    ("barrier dropped", |line| line.starts_with("bar.sync").then(String::new)),
    ("wait dropped", |line| line.starts_with("cp.async.wait_group").then(String::new)),
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
        line.strip_prefix("add.rn.f32").map(|operands| format!("sub.rn.f32{operands}"))
    }),
    ("factors without the sum", |line| {
        let operands = line.strip_prefix("fma.rn.f32")?.rsplit_once(", ")?.0;
        Some(format!("mul.rn.f32{operands};"))
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

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    for (name, text) in kernels() {
        for &(mistake, change) in MISTAKES {
            let places: Vec<usize> = (0..text.lines().count())
                .filter(|&at| text.lines().nth(at).is_some_and(|line| change(line.trim()).is_some()))
                .collect();
            for place in spread(&places) {
                let text = text.clone();
                let at = mistake.replace(' ', "-");
                trials.push(Trial::test(format!("{name}/{at}/{place}"), move || notice(name, &text, place, change)));
            }
        }
    }
    libtest_mimic::run(&arguments, trials).exit_code()
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
    let mut parts = PTX.split("\n.visible .entry ");
    let common = parts.next().unwrap_or_default();
    parts
        .map(|kernel| {
            let name = kernel.split('(').next().unwrap_or_default();
            (name, Arc::new(format!("{common}\n.visible .entry {kernel}")))
        })
        .collect()
}

fn notice(kernel: &str, text: &str, place: usize, change: Mistake) -> Result<(), Failed> {
    let line = text.lines().nth(place).unwrap_or_default();
    let changed = change(line.trim()).unwrap_or_default();
    let lines: Vec<&str> =
        text.lines().enumerate().map(|(at, line)| if at == place { changed.as_str() } else { line }).collect();
    let module = Arc::new(Module::of(&lines.join("\n")).map_err(|fault| fault.to_string())?);
    let all = checks::all::<Interpreter>();
    let check = all.iter().find(|check| check.kernel == kernel).ok_or("there is no check of this kernel")?;
    for order in [Order::Forward, Order::Backward] {
        for data in Data::ALL {
            let device = Interpreter::new(Arc::clone(&module), order).with_patience(PATIENCE);
            let rig = Rig { device, guard: 0 };
            if check.run(&rig, &Kernels::ours(), data).is_err() {
                return Ok(());
            }
        }
    }
    Err(format!("passes all checks with `{changed}` for `{}`", line.trim()).into())
}
