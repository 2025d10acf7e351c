//! Which lines of the PTX no check of the suite comes to.
use std::sync::Arc;
use kernel_suite::{Data, Kernels, Rig, checks};
use ptx_interpreter::{Interpreter, Module, Order};
const PTX: &str = include_str!("../../../kernels/ptx/kernels.sm_80.ptx");
#[test]
fn lines() {
    let module = Arc::new(Module::of(PTX).unwrap());
    for check in checks::all::<Interpreter>() {
        for data in Data::ALL {
            let rig = Rig { device: Interpreter::new(Arc::clone(&module), Order::Forward), guard: 0 };
            check.run(&rig, &Kernels::ours(), data).unwrap();
        }
        let lines = module.never_ran(check.kernel);
        println!("{} {}", check.kernel, lines.len());
        for (n, l) in lines.iter().take(400) { println!("   {n} {l}"); }
    }
}
