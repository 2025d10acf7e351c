//! Any bytes are read as a checkpoint, or refused with a reason. Training goes on from what is read, or refuses it.

use tilegrad::Error;
use tilegrad::data::{Dataset, Output, Table};
use tilegrad::engine::Loop;
use tilegrad::models::{Checkpoint, Checkpoints, FittedLinear, LinearRegression};

use crate::{BYTES, file, message};

/// The steps that training is to do in all.
const ITERATIONS: usize = 8;
/// A checkpoint each so many steps.
const EVERY: usize = 4;
/// The steps behind [`a_checkpoint`].
const DONE: usize = 3;

/// These bytes are a checkpoint of finite costs, and training that resumes from it either ends with a checkpoint that
/// begins with the same costs and resumes to the same model, or says why not; or they are refused as a checkpoint.
pub fn checkpoint(bytes: &[u8]) {
    let found = match Checkpoint::from_bytes(bytes) {
        Ok(found) => found,
        Err(error) => return refused(&error, BYTES),
    };
    assert_eq!(found.iteration(), found.costs().len());
    assert!(found.costs().iter().all(|cost| cost.is_finite()));

    let path = file(bytes);
    let resume = || {
        let output = Output::new(&path).expect("a file in a folder that can be written to");
        train(Checkpoints::resume(output).expect("what is read from bytes is read from a file"), ITERATIONS)
    };
    match resume() {
        Ok(model) => {
            let last = Checkpoint::load(&path).expect("what training wrote");
            assert_eq!(last.iteration(), ITERATIONS);
            assert_eq!(&last.costs()[..found.iteration()], found.costs());
            assert_eq!(resume().expect("there is nothing left to do"), model);
        }
        // Parameters may have been changed to any numbers.
        Err(Error::Diverged { .. } | Error::Data(_)) => {}
        Err(error) => refused(&error, &path.display().to_string()),
    }
}

/// A checkpoint as it is written today, of the training that [`checkpoint`] resumes.
pub fn a_checkpoint() -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a place for a folder");
    let path = folder.path().join("checkpoint");
    let output = Output::new(&path).expect("a new file in it");
    train(Checkpoints::begin(output).expect("there is none yet"), DONE)
        .expect("these data can be learnt from");
    std::fs::read(path).expect("what training wrote")
}

fn train(checkpoints: Checkpoints, iterations: usize) -> Result<FittedLinear, Error> {
    let x = Table::new(vec!["a".into(), "b".into()], vec![1.0, -2.0, 3.0, 0.5, 7.0, 1.5]).expect("a table");
    let data = Dataset::new(x, "y", vec![2.0, 4.0, 9.0]).expect("a data set");
    let settings = LinearRegression::new().iterations(iterations);
    settings.fit_resumable(&Loop, &data, checkpoints.every(EVERY), |_| ())
}

fn refused(error: &Error, place: &str) {
    assert!(matches!(error, Error::Checkpoint { .. }), "a bad checkpoint is reported as {error:?}");
    message(error, place);
}
