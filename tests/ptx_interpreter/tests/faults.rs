//! What the interpreter says of small texts that are wrong, and what it makes of some that are right.

use std::sync::Arc;

use cuda_std::{Device, GlobalMut, Kernel};
use ptx_interpreter::{Interpreter, Module, Order};

/// Threads of a block.
const THREADS: u32 = 64;

/// The array of most kernels here.
const ARRAY: &str = ".shared .align 16 .b8 array[512];";

/// A kernel with one parameter, so many words of memory to write, of this body. `%rd1` is their address, `%rd2` that of the
/// thread's own, `%r1` the thread's number.
fn module(body: &str) -> Result<Module, String> {
    module_with(ARRAY, THREADS, body)
}

/// The same, with these arrays, of which `%r2` is the address of the one named so, and blocks of so many threads.
fn module_with(arrays: &str, threads: u32, body: &str) -> Result<Module, String> {
    let text = format!(
        ".version 7.0\n.target sm_80\n.address_size 64\n{arrays}\n\
         .visible .entry test(\n.param .u64 .ptr .align 1 test_param_0\n)\n.maxntid {threads}, 1, 1\n{{\n\
         .reg .pred %p<9>;\n.reg .b32 %r<40>;\n.reg .b64 %rd<9>;\n\
         ld.param.b64 %rd1, [test_param_0];\nmov.u32 %r1, %tid.x;\nmul.wide.u32 %rd2, %r1, 4;\n\
         add.s64 %rd2, %rd1, %rd2;\nmov.u32 %r2, array;\nshl.b32 %r3, %r1, 2;\nadd.s32 %r3, %r3, %r2;\n\
         mov.b32 %r4, -1;\nsetp.lt.u32 %p1, %r1, 16;\n{body}\nret;\n}}\n"
    );
    Module::of(&text).map_err(|fault| fault.to_string())
}

/// The kernel, with blocks of so many threads.
const fn kernel(threads: u32) -> Kernel<(GlobalMut<u32>,)> {
    Kernel::new("test", "test", [threads, 1, 1], |_| ())
}

/// What a grid of so many blocks leaves, in memory for the threads of one.
fn run(body: &str, blocks: u32, order: Order) -> Result<Vec<u32>, String> {
    launch(module(body)?, &kernel(THREADS), blocks, &[0; THREADS as usize], order)
}

/// What a grid of so many blocks makes of these words.
fn launch(
    module: Module,
    kernel: &Kernel<(GlobalMut<u32>,)>,
    blocks: u32,
    words: &[u32],
    order: Order,
) -> Result<Vec<u32>, String> {
    let device = Interpreter::new(Arc::new(module), order).with_patience(1000);
    let mut words = device.upload(words).map_err(|fault| fault.to_string())?;
    // SAFETY: the interpreter checks every access.
    unsafe { device.launch(kernel, [blocks, 1, 1], (&mut words,)) }.map_err(|fault| fault.to_string())?;
    device.download(&words).map_err(|fault| fault.to_string())
}

/// Fails in both orders, and in these words.
#[track_caller]
fn fails(body: &str, blocks: u32, words: &str) {
    both_fail(|order| run(body, blocks, order), words);
}

/// The same of any run.
#[track_caller]
fn both_fail(run: impl Fn(Order) -> Result<Vec<u32>, String>, words: &str) {
    for order in [Order::Forward, Order::Backward] {
        match run(order) {
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
    assert!(wrong("fence.proxy.tensormap::generic.release.gpu;").contains("is not known here"));
    assert!(wrong("wgmma.wait_group.sync.aligned %r5;").contains("%r5 is no number of groups"));
    let product = of_warpgroup(0, "1");
    let of_product = |old: &str, new: &str| wrong(&format!("{REGISTERS}{}", product.replace(old, new)));
    assert_eq!(of_product("", ""), "");
    assert!(of_product("m64n128k8", "m64n256k8").contains("is not known here"));
    assert!(of_product("%add, 1, 1", "%add, -1, 1").contains("with scales of 1 only"));
    assert!(of_product("%add, 1, 1", "%add, 1, 1, 0").contains("with scales of 1 only"));
    assert!(of_product("{%a0, %a1, %a2, %a3}", "%b").contains("%b is not a register of 32 bits"));
    assert!(of_product("%d0, ", "").contains("takes 64 registers there"));
    assert!(of_product("%d0, ", "1, ").contains("1 is not a register"));
}

/// The array after one of this module's own is where its alignment wants it.
#[test]
fn dynamic_shared_memory() {
    let address = |alignment: u32, array: &str| {
        let dynamic = format!(".extern .shared .align {alignment} .b8 more[];");
        let body = format!("mov.u32 %r5, {array};\nst.global.b32 [%rd2], %r5;\nmov.u32 %r6, more;");
        let module = module_with(&format!("{ARRAY}\n{dynamic}"), THREADS, &body)?;
        let kernel = kernel(THREADS).dynamic_shared(64);
        launch(module, &kernel, 1, &[0; THREADS as usize], Order::Forward).map(|words| words[0])
    };
    assert_eq!(address(16, "array"), Ok(1024));
    assert_eq!(address(16, "more"), Ok(1536));
    assert_eq!(address(1024, "more"), Ok(2048));
}

/// Rows and columns of a warpgroup's product, and what is summed over: two steps of 8.
const SIDES: [usize; 3] = [64, 128, 16];
/// Threads of a warpgroup.
const WARPGROUP: u32 = 128;
/// Its array: the columns of B, 128 bytes each, of which 64 are used.
const LINES: &str = ".shared .align 1024 .b8 array[16384];";

/// Registers of D, of another D, and of A for both steps.
const REGISTERS: &str = ".reg .b32 %d<64>;\n.reg .b32 %e<64>;\n.reg .b32 %a<8>;\n";
const PROXY_FENCE: &str = "fence.proxy.async.shared::cta;\n";
const BARRIER: &str = "bar.sync 0;\n";
const FENCE: &str = "wgmma.fence.sync.aligned; // {%d0}\n";
const COMMIT: &str = "wgmma.commit_group.sync.aligned;\n";
const WAIT: &str = "wgmma.wait_group.sync.aligned 0; // {%d0}\n";

/// Where A and B begin in memory, in words; D is before them.
const A: usize = SIDES[0] * SIDES[1];
const B: usize = A + SIDES[0] * SIDES[2];

/// Memory for D, A by rows and B by columns, of values that all differ, with bits that the tensor cores do not look at.
fn matrices() -> Vec<u32> {
    let [m, n, k] = SIDES;
    let a = (0..m * k).map(|index| (index as f32 / 7.0 - 60.0).to_bits());
    let b = (0..n * k).map(|index| (90.0 - index as f32 / 11.0).to_bits());
    std::iter::repeat_n(0, m * n).chain(a).chain(b).collect()
}

/// D after so many steps that begin with `first`.
fn expected(steps: usize, first: f32) -> Vec<u32> {
    let [m, n, k] = SIDES;
    let seen: Vec<f64> =
        matrices().iter().map(|bits| f64::from(f32::from_bits(bits & 0xffff_e000))).collect();
    let mut d = Vec::new();
    for (row, column) in (0..m).flat_map(|row| (0..n).map(move |column| (row, column))) {
        d.push((0..steps).fold(first, |d, step| {
            let mut sum = f64::from(d);
            for l in 8 * step..8 * step + 8 {
                sum += seen[A + row * k + l] * seen[B + column * k + l];
            }
            sum as f32
        }));
    }
    d.into_iter().map(f32::to_bits).collect()
}

/// Each thread takes a column of B to shared memory: `%r5` is where it begins, `%r6` what its chunks' places differ by.
fn columns() -> String {
    let mut text = "mul.wide.u32 %rd3, %r1, 64;\nadd.s64 %rd3, %rd1, %rd3;\nshl.b32 %r5, %r1, 7;\n\
                    add.s32 %r5, %r5, %r2;\nand.b32 %r6, %r1, 7;\nshl.b32 %r6, %r6, 4;\n"
        .to_owned();
    for chunk in 0..SIDES[2] / 4 {
        text += &format!(
            "ld.global.v4.b32 {{%r10, %r11, %r12, %r13}}, [%rd3+{}];\nxor.b32 %r7, %r6, {};\n\
             add.s32 %r7, %r5, %r7;\nst.shared.v4.b32 [%r7], {{%r10, %r11, %r12, %r13}};\n",
            4 * B + 16 * chunk,
            16 * chunk
        );
    }
    text
}

/// What lanes hold of A; and `%rd5`, where their elements of D go.
fn rows() -> String {
    let mut text = "shr.u32 %r8, %r1, 5;\nshl.b32 %r8, %r8, 4;\nshr.u32 %r9, %r1, 2;\nand.b32 %r9, %r9, 7;\n\
                    add.s32 %r8, %r8, %r9;\nand.b32 %r9, %r1, 3;\n\
                    shl.b32 %r14, %r8, 4;\nadd.s32 %r14, %r14, %r9;\nmul.wide.u32 %rd4, %r14, 4;\n\
                    add.s64 %rd4, %rd1, %rd4;\nshl.b32 %r14, %r8, 7;\nadd.s32 %r14, %r14, %r9;\n\
                    add.s32 %r14, %r14, %r9;\nmul.wide.u32 %rd5, %r14, 4;\nadd.s64 %rd5, %rd1, %rd5;\n"
        .to_owned();
    for register in 0..8 {
        let (step, right, lower) = (register / 4, register / 2 % 2, register % 2);
        let word = A + 8 * step + 4 * right + 8 * SIDES[2] * lower;
        text += &format!("ld.global.b32 %a{register}, [%rd4+{}];\n", 4 * word);
    }
    text
}

/// The matrix descriptors of both steps, as their two halves: `%r16` or `%r18`, and `%r17`.
const DESCRIPTORS: &str = "shr.u32 %r16, %r2, 4;\nor.b32 %r16, %r16, 65536;\nadd.s32 %r18, %r16, 2;\n\
                           mov.b32 %r17, 1073741888;\n";

/// A list of registers.
fn list(name: &str, numbers: std::ops::Range<usize>) -> String {
    let names: Vec<String> = numbers.map(|number| format!("%{name}{number}")).collect();
    format!("{{{}}}", names.join(", "))
}

/// A step into D, which is added if `adds` is not 0.
fn of_warpgroup(step: usize, adds: &str) -> String {
    format!(
        "{{ .reg .pred %add; .reg .b64 %b; setp.ne.u32 %add, {adds}, 0; mov.b64 %b, {{%r{}, %r17}}; \
         wgmma.mma_async.sync.aligned.m64n128k8.f32.tf32.tf32 {}, {}, %b, %add, 1, 1; }}\n",
        16 + 2 * step,
        list("d", 0..64),
        list("a", 4 * step..4 * step + 4)
    )
}

/// Stores D.
fn store() -> String {
    let place = |register: usize| 4 * (8 * (register / 4) + register % 2 + register / 2 % 2 * 8 * SIDES[1]);
    (0..64).map(|register| format!("st.global.b32 [%rd5+{}], %d{register};\n", place(register))).collect()
}

/// A product in two steps, but for the wait and what comes after it.
fn begun() -> String {
    let (first, second) = (of_warpgroup(0, "0"), of_warpgroup(1, "1"));
    let (columns, rows) = (columns(), rows());
    format!("{REGISTERS}{columns}{rows}{DESCRIPTORS}{PROXY_FENCE}{BARRIER}{FENCE}{first}{second}{COMMIT}")
}

/// What a block of a warpgroup leaves of D.
fn run_warpgroup(body: &str, order: Order) -> Result<Vec<u32>, String> {
    let module = module_with(LINES, WARPGROUP, body)?;
    let mut words = launch(module, &kernel(WARPGROUP), 1, &matrices(), order)?;
    words.truncate(A);
    Ok(words)
}

/// Gives these elements in both orders.
#[track_caller]
fn gives(body: &str, expected: &[u32]) {
    for order in [Order::Forward, Order::Backward] {
        match run_warpgroup(body, order) {
            Ok(words) => {
                let other = (0..A).find(|&index| words[index] != expected[index]);
                let place = other.map(|index| [index / SIDES[1], index % SIDES[1]]);
                assert_eq!(place, None, "{order:?}: not what is expected there");
            }
            Err(said) => panic!("{order:?}: {said}"),
        }
    }
}

/// A text that `old` is in once, with `new` for it.
#[track_caller]
fn with(text: &str, old: &str, new: &str) -> String {
    assert_eq!(text.matches(old).count(), 1, "{old}");
    text.replace(old, new)
}

/// A product in which `old` has become `new` fails in both orders, and in these words.
#[track_caller]
fn product_fails(old: &str, new: &str, words: &str) {
    let body = with(&format!("{}{WAIT}{}", begun(), store()), old, new);
    both_fail(|order| run_warpgroup(&body, order), words);
}

#[test]
fn products_of_a_warpgroup() {
    let product = format!("{}{WAIT}{}", begun(), store());
    gives(&product, &expected(2, 0.0));
    // D is added, or not: then it may be anything before.
    let threes: String = (0..64).map(|register| format!("mov.b32 %d{register}, 0f40400000;\n")).collect();
    let with_threes = with(&product, FENCE, &format!("{threes}{FENCE}"));
    gives(&with_threes, &expected(2, 0.0));
    gives(&with(&with_threes, "%add, 0, 0", "%add, 1, 0"), &expected(2, 3.0));
    // What comes after the wait and a barrier is of no concern.
    let after = format!("{WAIT}{BARRIER}st.shared.b32 [%r5], %r1;\nmov.b32 %a0, 0;\n");
    gives(&with(&product, WAIT, &after), &expected(2, 0.0));
    // Nor is what no product reads: the other half of a line.
    let beside = format!("{COMMIT}xor.b32 %r7, %r7, 64;\nst.shared.b32 [%r7], %r1;\n");
    gives(&with(&product, COMMIT, &beside), &expected(2, 0.0));
}

#[test]
fn groups_of_products() {
    // The first step into another D as well, in a group of its own: the first wait is for that alone.
    let other = of_warpgroup(0, "0").replace("%d", "%e");
    let groups = with(&begun(), FENCE, &format!("{FENCE}{other}{COMMIT}{FENCE}"));
    let one = with(WAIT, "aligned 0", "aligned 1");
    let store_other = store().replace("%d", "%e");
    gives(&format!("{groups}{one}{store_other}{WAIT}"), &expected(1, 0.0));
    gives(&format!("{groups}{one}{WAIT}{}", store()), &expected(2, 0.0));
    // As long as any product of a D is on its way, none of it is there.
    let nothing = vec![0x7fc0_beef; A];
    gives(&format!("{groups}{one}{}{WAIT}", store()), &nothing);
    gives(&format!("{}{}{WAIT}", begun(), store()), &nothing);
    let apart = with(&begun(), &of_warpgroup(1, "1"), &format!("{COMMIT}{FENCE}{}", of_warpgroup(1, "1")));
    gives(&format!("{apart}{one}{}{WAIT}", store()), &nothing);
    gives(&format!("{apart}{one}{WAIT}{}", store()), &expected(2, 0.0));
}

#[test]
fn products_without_fences() {
    product_fails(PROXY_FENCE, "", "which was written without fence.proxy.async");
    product_fails(BARRIER, "", "which nobody has written");
    product_fails(FENCE, "", "no wgmma.fence");
    // A fence before the last write.
    let late = format!("{PROXY_FENCE}st.shared.v4.b32 [%r7], {{%r10, %r11, %r12, %r13}};\n");
    product_fails(PROXY_FENCE, &late, "which was written without fence.proxy.async");
    // A fence after the barrier: too late for other warps.
    let crossed = format!("{BARRIER}{PROXY_FENCE}");
    product_fails(&format!("{PROXY_FENCE}{BARRIER}"), &crossed, "fence.proxy.async");
    let crossed = format!(
        "{BARRIER}setp.eq.s32 %p2, %r1, 0;\n@%p2 st.shared.b32 [%r2], %r10;\n{BARRIER}@%p2 {PROXY_FENCE}"
    );
    product_fails(BARRIER, &crossed, "fence.proxy.async");
    // A barrier, but before the last write.
    let twice = format!("{PROXY_FENCE}{BARRIER}{}{PROXY_FENCE}", columns());
    product_fails(&format!("{PROXY_FENCE}{BARRIER}"), &twice, "without a barrier between");
    // A copy that was waited for after the fence.
    let copied = format!(
        "{BARRIER}cp.async.ca.shared.global [%r7], [%rd3+{}], 16;\n{PROXY_FENCE}cp.async.wait_all;\n{BARRIER}",
        4 * B + 48
    );
    product_fails(BARRIER, &copied, "which was written without fence.proxy.async");
    let fenced = with(&copied, "cp.async.wait_all;\n", &format!("cp.async.wait_all;\n{PROXY_FENCE}"));
    gives(&format!("{}{WAIT}{}", with(&begun(), BARRIER, &fenced), store()), &expected(2, 0.0));
    // Each group wants its own fence.
    let second = of_warpgroup(1, "1");
    product_fails(&second, &format!("{COMMIT}{second}"), "no wgmma.fence");
    product_fails(&second, &format!("{WAIT}{second}"), "no wgmma.fence");
}

#[test]
fn products_whose_operands_change() {
    let after = |what: &str| format!("{COMMIT}{what}\n");
    let still = "a write of shared memory at 1024, which wgmma still reads";
    product_fails(COMMIT, &after("setp.eq.s32 %p2, %r1, 0;\n@%p2 st.shared.b32 [%r2], %r1;"), still);
    let copy = "setp.eq.s32 %p2, %r1, 0;\n@%p2 cp.async.ca.shared.global [%r2], [%rd1], 4;";
    product_fails(COMMIT, &after(copy), still);
    // All products are on their way here.
    let last = "bar.sync 0;\nsetp.eq.s32 %p2, %r1, 127;\n@%p2 st.shared.b32 [%r2], %r1;";
    product_fails(COMMIT, &after(last), still);
    // The last to wait writes: what the others have read since the barrier up to their waits.
    let last = format!("{BARRIER}{WAIT}setp.gt.u32 %p2, %r1, 95;\n@%p2 st.shared.b32 [%r5], %r1;\n");
    product_fails(WAIT, &last, "a write of shared memory at");
    // Who has waited writes what others may still read.
    product_fails(WAIT, &format!("{WAIT}{}", columns()), "of shared memory at");
    product_fails(COMMIT, &after("mov.b32 %a6, 0;"), "registers of A were written");
    product_fails(COMMIT, &after("mov.b32 %d63, 0;"), "registers of D were written");
    product_fails(COMMIT, &after("@%p1 mov.b32 %d0, 0;"), "registers of D were written");
    let fenced = |what: &str| format!("{FENCE}{what}\n");
    product_fails(FENCE, &fenced("mov.b32 %a6, 0;"), "were written after wgmma.fence");
    product_fails(FENCE, &fenced("mov.b32 %d63, 0;"), "were written after wgmma.fence");
    let between = format!("mov.b32 %d63, 0;\n{}", of_warpgroup(1, "1"));
    product_fails(&of_warpgroup(1, "1"), &between, "registers of D were written");
    // A register in another place.
    let moved = of_warpgroup(1, "1").replace("%d62, %d63", "%d62, %e63");
    product_fails(&of_warpgroup(1, "1"), &moved, "registers of D are those of another D too");
}

#[test]
fn warps_that_do_not_multiply_together() {
    let but_the_first = |what: &str| format!("setp.lt.u32 %p2, %r1, 32;\n@%p2 bra $L1;\n{what}$L1:\n");
    product_fails(FENCE, &format!("{}{FENCE}", but_the_first(FENCE)), "came to another instruction");
    product_fails(WAIT, &format!("{WAIT}{}", but_the_first(FENCE)), "the warp has ended without this");
    let other = "setp.lt.u32 %p2, %r1, 32;\nselp.b32 %r18, %r16, %r18, %p2;\n";
    product_fails(FENCE, &format!("{FENCE}{other}"), "has another matrix descriptor, or adds D");
    let other = "setp.lt.u32 %p2, %r1, 32;\nselp.b32 %r19, 1, 0, %p2;\n";
    let adding = with(&format!("{other}{}", of_warpgroup(0, "0")), "%add, 0, 0", "%add, %r19, 0");
    product_fails(&of_warpgroup(0, "0"), &adding, "has another matrix descriptor, or adds D");
    // Lanes, too.
    product_fails(
        &of_warpgroup(0, "0"),
        &adding.replace(", 32;", ", 16;"),
        "do not agree on whether D is added",
    );
    let other = "selp.b32 %r18, %r16, %r18, %p1;\n";
    product_fails(FENCE, &format!("{FENCE}{other}"), "lanes have several matrix descriptors");
    let half = format!("and.b32 %r19, %r1, 31;\nsetp.lt.u32 %p2, %r19, 16;\n@%p2 {COMMIT}");
    product_fails(COMMIT, &half, "of lanes that meet others some have a guard");
    fails("wgmma.fence.sync.aligned;", 1, "a warpgroup of fewer than 128 threads");
}

#[test]
fn matrix_descriptors() {
    let [start, rest] = ["or.b32 %r16, %r16, 65536;", "mov.b32 %r17, 1073741888;"];
    let begins = |bytes: u32| format!("or.b32 %r16, %r16, {};", 65536 + bytes / 16);
    let says = |bits: u32| format!("mov.b32 %r17, {bits};");
    product_fails(start, &begins(128), "a matrix at 1152");
    product_fails(start, &begins(16), "nor steps of 32 bytes behind");
    product_fails(start, &begins(1 << 18), "bits without a meaning");
    // Columns of which nothing was written here.
    product_fails(start, &begins(64), "which nobody has written");
    let stride = |bytes: u32| bytes / 16;
    for swizzle in [0, 2, 3] {
        product_fails(rest, &says(swizzle << 30 | stride(1024)), "another swizzle");
    }
    product_fails(rest, &says(1 << 30 | stride(512)), "its groups every 512 bytes");
    product_fails(rest, &says(1 << 30 | stride(2048)), "the block has 16384 bytes from 1024 on");
    product_fails(rest, &says(1 << 30 | 1 << 17 | stride(1024)), "a base offset");
    product_fails(rest, &says(1 << 30 | 1 << 14 | stride(1024)), "bits without a meaning");
}

#[test]
fn products_that_nobody_waits_for() {
    let words = "has not waited for this product";
    product_fails(WAIT, "", words);
    product_fails(WAIT, "wgmma.wait_group.sync.aligned 1;\n", words);
    product_fails(COMMIT, "", words);
    // Whoever has a guard does nothing.
    product_fails(COMMIT, &format!("setp.ne.s32 %p2, %r1, %r1;\n@%p2 {COMMIT}"), words);
    product_fails(WAIT, &format!("setp.ne.s32 %p2, %r1, %r1;\n@%p2 {WAIT}"), words);
}
