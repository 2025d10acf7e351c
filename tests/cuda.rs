//! The way through CUDA, on the simulated driver (tests/simulated_driver): nothing here needs a GPU or uses one.
//!
//! The command and the library load it as they load NVIDIA's. They must give the emulator's results bit for bit, and
//! survive what a driver can do: every call of a training fails once, every allocation, every kernel. The tests of
//! every kernel and of the engine on it are in tests/kernels.rs and tests/engines.rs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use kernel_suite::simulated;
use libtest_mimic::{Arguments, Trial};
use serde_json::Value;
use tempfile::TempDir;
use tilegrad::engine::RUNGS_VARIABLE;

#[path = "cuda/bench.rs"]
mod bench;
#[path = "cuda/command.rs"]
mod command;
#[path = "cuda/driver.rs"]
mod driver;
#[path = "cuda/faults.rs"]
mod faults;
#[path = "cuda/graphs.rs"]
mod graphs;
#[path = "cuda/uploads.rs"]
mod uploads;

fn main() {
    let arguments = Arguments::from_args();
    let library = simulated::library();
    match &library {
        // SAFETY: no other thread is there yet.
        Ok(library) => unsafe { std::env::set_var(simulated::DRIVER, library) },
        Err(reason) => eprintln!("all these tests are ignored: {reason}"),
    }
    macro_rules! trials {
        ($($module:ident: $($name:ident)*;)*) => {
            vec![$($(Trial::test(concat!("simulated/", stringify!($name)), || {
                $module::$name();
                Ok(())
            })),*),*]
        };
    }
    let trials = trials! {
        command:
            training_and_prediction_are_the_emulators_bit_for_bit
            networks_learn_as_on_the_emulator_bit_for_bit
            a_gpu_with_little_shared_memory_goes_over_the_samples_twice
            a_gpu_of_few_multiprocessors_takes_fewer_blocks
            training_goes_on_from_a_checkpoint_to_the_same_bits
            training_that_fails_leaves_a_checkpoint
            compare_takes_part
            doctor_and_auto_know_the_gpu
            one_of_several_gpus_is_chosen
            an_old_driver_is_refused
            an_old_gpu_is_refused
            no_gpu_is_refused
            a_driver_that_does_not_start_is_refused
            a_missing_function_is_named
            a_rejected_module_shows_the_compilers_log
            a_driver_that_does_not_know_the_ptx_is_refused
            too_little_memory_says_how_much_there_is
            a_refused_launch_names_the_kernel
            a_kernel_that_fails_is_named_by_the_next_call
            a_kernel_that_leaves_its_memory_is_named_by_the_next_call
            a_lost_gpu_ends_the_work
            what_the_driver_says_is_told_with_what_to_do
            a_failed_prediction_writes_nothing;
        faults:
            the_command_survives_every_call_that_fails
            the_command_survives_every_allocation_that_fails
            the_command_survives_every_kernel_that_fails
            a_process_goes_on_after_every_call_that_fails
            a_process_stays_refused_after_every_fault_that_stays
            a_process_stays_refused_once_the_gpu_is_lost;
        driver:
            work_runs_when_it_is_waited_for_and_no_earlier
            a_module_of_other_kernels_is_refused
            the_modules_are_those_for_the_gpu_that_the_driver_tells_of
            kernels_for_one_architecture_are_refused_elsewhere
            launches_that_no_gpu_takes_are_refused
            what_is_kept_is_reported
            a_kernel_beyond_its_memory_is_found
            wrong_ranges_and_owners_are_refused
            threads_share_a_gpu;
        graphs:
            captures_are_checked_as_the_driver_does
            events_are_checked_as_the_driver_does
            repeated_work_is_a_loop_in_fewer_launches
            an_old_driver_repeats_without_graphs
            what_is_no_launch_is_refused_in_repeated_work
            uneven_work_is_refused
            work_that_fails_or_panics_leaves_the_gpu_usable
            dropped_memory_lives_until_the_repetitions_are_done
            other_threads_work_while_one_repeats
            every_call_may_fail_while_work_is_repeated
            a_fault_in_a_graph_names_its_kernel
            work_is_timed;
        uploads:
            uploads_wait_for_nothing
            an_epoch_of_a_streamed_file_waits_for_no_block
            a_wait_that_is_left_out_shows
            page_locked_memory_is_used_again_when_it_was_read
            memory_is_used_again_after_those_who_had_it
            memory_that_is_kept_is_given_back_where_it_is_wanted
            every_call_of_an_upload_may_fail
            an_upload_that_failed_leaves_the_gpu_usable;
        bench:
            kernels_are_timed_if_they_are_right
            rungs_are_compared
            measured_rungs_are_taken
            the_headline_is_of_the_figures_that_are_asked_for_first
            operations_are_timed_on_the_engine
            a_wrong_result_gets_no_figure
            a_driver_that_tells_no_clock_leaves_arithmetic_out
            a_driver_that_fails_ends_the_bench
            what_was_timed_before_a_driver_failed_is_kept
            cublas_is_timed_on_the_same_work
            cublas_that_cannot_be_used_takes_no_part
            a_cublas_that_is_wrong_or_fails_gets_no_figure
            a_layer_of_cublas_that_fails_gets_no_figure;
    };
    let ignored = library.is_err();
    let trials = trials.into_iter().map(|trial| trial.with_ignored_flag(ignored)).collect();
    libtest_mimic::run(&arguments, trials).exit();
}

/// Data that can be learnt from.
const SMALL: &str = "a,b,y\n1,2,3\n2,1,5\n3,5,4\n4,4,9\n";

/// A folder in which the command runs.
struct Place {
    folder: TempDir,
    /// A file in it with measured rungs.
    rungs: Option<&'static str>,
}

impl Place {
    /// With the file small.csv.
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder for temporary files");
        let place = Place { folder, rungs: None };
        fs::write(place.path("small.csv"), SMALL).expect("the folder can be written to");
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// The names of its files.
    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).expect("the folder is there");
        let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("it can be listed").file_name();
        let mut names: Vec<String> =
            entries.map(|entry| name(entry).to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// Runs the command on the simulated driver with a script, and without cuBLAS.
    fn run(&self, script: &str, line: &str) -> Run {
        let library = simulated::library().expect("it was there when the tests began");
        self.run_on(&library, script, line)
    }

    fn run_on(&self, library: &Path, script: &str, line: &str) -> Run {
        self.run_with(library, Path::new("/nonexistent/libcublas.so"), script, line)
    }

    fn run_with(&self, library: &Path, cublas: &Path, script: &str, line: &str) -> Run {
        let reports = tempfile::tempdir().expect("a folder for temporary files");
        let report = reports.path().join("report.json");
        let output = Command::new(env!("CARGO_BIN_EXE_tilegrad"))
            .args(line.split(' '))
            .current_dir(self.folder.path())
            .env(simulated::DRIVER, library)
            .env("TILEGRAD_CUBLAS", cublas)
            .env("SIMULATED_CUDA", script)
            .env("SIMULATED_CUDA_REPORT", &report)
            .env_remove(RUNGS_VARIABLE)
            .envs(self.rungs.map(|rungs| (RUNGS_VARIABLE, rungs)))
            .output()
            .expect("the program starts");
        let text = fs::read_to_string(&report).unwrap_or_else(|_| "null".to_owned());
        let run = Run {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).expect("output is UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("messages are UTF-8"),
            report: Report(serde_json::from_str(&text).expect("the report is JSON")),
        };
        assert!((0..=3).contains(&run.code) && !run.stderr.contains("panicked"), "{script}: {run:?}");
        run
    }
}

/// How a run of the command went.
#[derive(Debug)]
struct Run {
    code: i32,
    stdout: String,
    stderr: String,
    report: Report,
}

/// What the simulated driver has seen.
#[derive(Debug)]
struct Report(Value);

impl Report {
    /// The calls, in order.
    fn order(&self) -> Vec<&str> {
        let order = self.0["order"].as_array().expect("a list");
        order.iter().map(|call| call.as_str().expect("a name")).collect()
    }

    fn number(&self, key: &str) -> usize {
        self.0[key].as_u64().unwrap_or_else(|| panic!("no {key} in {self:?}")) as usize
    }

    /// The number of the call in which the script's fault came.
    fn struck(&self) -> Option<usize> {
        self.0["struck"].as_u64().map(|number| number as usize)
    }

    /// Everything was given back, as far as the program can, and nothing left its memory.
    fn is_clean(&self) -> bool {
        let kept = self.0["kept"].as_object().expect("an object");
        kept.len() == 7 && kept.values().all(|count| count == 0) && self.0["outside"] == 0
    }
}
