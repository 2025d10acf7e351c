//! `cargo xtask`: the chores of the project that cargo has no command for.

mod xtask;

use std::process::ExitCode;

use xtask::check::Kept;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  kernels           compile the kernels and write kernels/ptx/ and its manifest anew
  kernels --verify  compile the kernels and compare with kernels/ptx/, which stays as it is
  check             assemble kernels/ptx/ and every function with ptxas: no stack, no spills, registers within the launch
                    bounds, and main loops as kernels/sass.txt has them
  check --exact     the same, where ptxas and nvdisasm have to be those that kernels/sass.txt is by
  check --refresh   as check, and write kernels/sass.txt anew
  bundle            build and collect what a GPU machine without Rust needs, in target/bundle";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["kernels"] => xtask::kernels::refresh(),
        ["kernels", "--verify"] => xtask::kernels::verify(),
        ["check"] => xtask::check::check(Kept::Compare),
        ["check", "--exact"] => xtask::check::check(Kept::Exact),
        ["check", "--refresh"] => xtask::check::check(Kept::Refresh),
        ["bundle"] => xtask::bundle::bundle(),
        ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            Ok(())
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
