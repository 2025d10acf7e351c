//! What the interpreter says of small texts that are wrong, and what it makes of some that are right.

use std::sync::Arc;

use cuda_std::{Device, GlobalMut, Kernel};
use ptx_interpreter::{Interpreter, Module, Order};

/// Threads of a block.
const THREADS: u32 = 64;

/// A kernel with one parameter, so many words of memory to write, of this body. `%rd1` is their address, `%rd2` that of the
/// thread's own, `%r1` the thread's number.
fn module(body: &str) -> Result<Module, String> {
    let text = format!(
        ".version 7.0\n.target sm_80\n.address_size 64\n\
         .shared .align 16 .b8 array[512];\n\
         .visible .entry test(\n.param .u64 .ptr .align 1 test_param_0\n)\n.maxntid {THREADS}, 1, 1\n{{\n\
         .reg .pred %p<9>;\n.reg .b32 %r<40>;\n.reg .b64 %rd<9>;\n\
         ld.param.b64 %rd1, [test_param_0];\nmov.u32 %r1, %tid.x;\nmul.wide.u32 %rd2, %r1, 4;\n\
         add.s64 %rd2, %rd1, %rd2;\nmov.u32 %r2, array;\nshl.b32 %r3, %r1, 2;\nadd.s32 %r3, %r3, %r2;\n\
         mov.b32 %r4, -1;\nsetp.lt.u32 %p1, %r1, 16;\n{body}\nret;\n}}\n"
    );
    Module::of(&text).map_err(|fault| fault.to_string())
}

/// What a grid of so many blocks leaves, in memory for the threads of one.
fn run(body: &str, blocks: u32, order: Order) -> Result<Vec<u32>, String> {
    static KERNEL: Kernel<(GlobalMut<u32>,)> = Kernel::new("test", "test", [THREADS, 1, 1], |_| ());
    let device = Interpreter::new(Arc::new(module(body)?), order).with_patience(1000);
    let mut words = device.upload(&[0_u32; THREADS as usize]).map_err(|fault| fault.to_string())?;
    // SAFETY: the interpreter checks every access.
    unsafe { device.launch(&KERNEL, [blocks, 1, 1], (&mut words,)) }.map_err(|fault| fault.to_string())?;
    device.download(&words).map_err(|fault| fault.to_string())
}

/// Fails in both orders, and in these words.
#[track_caller]
fn fails(body: &str, blocks: u32, words: &str) {
    for order in [Order::Forward, Order::Backward] {
        match run(body, blocks, order) {
            Ok(_) => panic!("{order:?}: nothing is found"),
            Err(said) => assert!(said.contains(words), "{order:?}: {said}"),
        }
    }
}

#[test]
fn accesses_outside_of_memory() {
    fails("st.global.b32 [%rd2+4], %r1;", 1, "a write of global memory at byte 256 of an allocation of 256");
    fails("ld.global.b32 %r5, [%rd1+-4];", 1, "a read of global memory");
    fails("ld.global.b32 %r5, [%rd1+2];", 1, "not aligned for 4 bytes");
    fails("ld.global.v4.f32 {%r5, %r6, %r7, %r8}, [%rd2];", 1, "not aligned for 16 bytes");
    fails("st.shared.b32 [%r3+512], %r1;", 1, ": the block has 512 bytes from 1024 on");
}

#[test]
fn races() {
    // Warp 1 reads what warp 0 writes, and the other way round.
    let exchange = "st.shared.b32 [%r3], %r1;\nBARRIER\nxor.b32 %r5, %r3, 128;\nld.shared.b32 %r6, [%r5];\n\
                    st.global.b32 [%rd2], %r6;";
    let with = exchange.replace("BARRIER", "bar.sync 0;");
    let expected: Vec<u32> = (0..THREADS).map(|thread| thread ^ 32).collect();
    assert_eq!(run(&with, 1, Order::Forward).as_deref(), Ok(&expected[..]));
    fails(&exchange.replace("BARRIER", ""), 1, "of shared memory");
    fails("st.shared.b32 [%r2], %r1;", 1, "has written without a barrier between");
    fails(&format!("{with}\nst.shared.b32 [%r3], %r1;"), 1, "without a barrier between");
    fails("ld.shared.b32 %r5, [%r3];", 1, "which nobody has written");
    fails("st.global.b32 [%rd2], %r1;", 2, "writes too");
}

#[test]
fn copies_that_nobody_waits_for() {
    let copy = "cp.async.ca.shared.global [%r3], [%rd2], 4;\ncp.async.commit_group;\nWAIT\nld.shared.b32 %r5, [%r3];\n\
                add.s32 %r5, %r5, 7;\nst.global.b32 [%rd2], %r5;";
    let waited = copy.replace("WAIT", "cp.async.wait_group 0;");
    assert_eq!(run(&waited, 1, Order::Forward), Ok(vec![7; THREADS as usize]));
    fails(&copy.replace("WAIT", "cp.async.wait_group 1;"), 1, "to where a copy was not waited for");
    // No group has it.
    let alone = waited.replace("cp.async.commit_group;", "");
    fails(&alone, 1, "to where a copy was not waited for");
    let all = alone.replace("cp.async.wait_group 0;", "cp.async.wait_all;");
    assert_eq!(run(&all, 1, Order::Forward), Ok(vec![7; THREADS as usize]));
}

#[test]
fn lanes_that_do_not_meet() {
    // A compiler that does not know that a shuffle needs all lanes may put one into each arm of a branch.
    let arms = "@%p1 bra $L1;\nshfl.sync.bfly.b32 %r5, %r1, 16, 31, %r4;\nbra.uni $L2;\n$L1:\n\
                shfl.sync.bfly.b32 %r5, %r1, 16, 31, %r4;\n$L2:\nst.global.b32 [%rd2], %r5;";
    fails(arms, 1, "wait here for lanes that are elsewhere");
    let apart = "@%p1 bra $L1;\nadd.s32 %r1, %r1, 0;\n$L1:\nshfl.sync.bfly.b32 %r5, %r1, 16, 31, %r4;\n\
                 st.global.b32 [%rd2], %r5;";
    let expected: Vec<u32> = (0..THREADS).map(|thread| thread ^ 16).collect();
    assert_eq!(run(apart, 1, Order::Backward), Ok(expected));
    fails("@%p1 bra $L1;\nbar.sync 0;\n$L1:", 1, "lanes 0x0000ffff, which have ended");
    fails("setp.lt.u32 %p2, %r1, 32;\n@%p2 bra $L1;\nbar.sync 0;\n$L1:", 1, "which has ended");
    fails("mov.b32 %r5, 15;\nshfl.sync.bfly.b32 %r6, %r1, 1, 31, %r5;", 1, "are not in the mask");
}

#[test]
fn kernels_that_do_not_end_as_they_should() {
    fails("$L1:\nbra.uni $L1;", 1, "does not come to an end");
    fails("@%p1 bra $L1;\ntrap;\n$L1:", 1, "a trap");
}

#[test]
fn shuffles() {
    let shuffle = |how: &str, lane: u32, clamp: &str| {
        let body = format!(
            "mov.b32 %r5, {lane};\nshfl.sync.{how}.b32 %r6, %r1, %r5, {clamp}, %r4;\nst.global.b32 [%rd2], %r6;"
        );
        run(&body, 1, Order::Forward)
    };
    let all =
        |of: &dyn Fn(u32) -> u32| Ok((0..THREADS).map(|thread| thread / 32 * 32 + of(thread % 32)).collect());
    assert_eq!(shuffle("down", 4, "31"), all(&|lane| if lane < 28 { lane + 4 } else { lane }));
    assert_eq!(shuffle("up", 4, "0"), all(&|lane| if lane >= 4 { lane - 4 } else { lane }));
    assert_eq!(shuffle("idx", 9, "31"), all(&|_| 9));
    // Segments of 8 lanes: the mask of the segment stands in bits 8 to 12.
    assert_eq!(shuffle("idx", 3, "6175"), all(&|lane| lane / 8 * 8 + 3));
    assert_eq!(shuffle("down", 1, "6175"), all(&|lane| if lane % 8 < 7 { lane + 1 } else { lane }));
}

#[test]
fn text_that_is_not_known() {
    let wrong = |body: &str| module(body).err().unwrap_or_default();
    assert!(wrong("tanh.approx.f32 %r5, %r1;").contains("tanh.approx.f32 is not known here"));
    assert!(wrong("add.s32 %r5, %r1, %rd1;").contains("%rd1 is not a register of 32 bits"));
    assert!(wrong("add.s32 %r5, %r1, %q1;").contains("%q1 is neither a register nor a number"));
    assert!(wrong("add.s32 5, %r1, %r2;").contains("5 is not a register"));
    assert!(wrong("mov.u32 %tid.x, 1;").contains("%tid.x is not a register"));
    assert!(wrong("ld.param.b32 %r5, [test_param_0];").contains("test_param_0 has 8 bytes"));
    assert!(wrong("ld.global.nc.b32 %r5, [%rd1];").contains("is not known here"));
    assert!(wrong("bra.uni $NOWHERE;").contains("no such label"));
    assert!(wrong("add.s32 %r5, %r1;").contains("has no operand 3"));
    assert!(wrong("cp.async.cg.shared.global [%r3], [%rd2], 4;").contains("does not copy 4 bytes"));
    assert!(wrong("ld.shared.v4.b32 {%r5, %r6}, [%r3];").contains("does not fit its registers"));
}
