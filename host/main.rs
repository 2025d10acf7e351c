//! The command `tilegrad`.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
