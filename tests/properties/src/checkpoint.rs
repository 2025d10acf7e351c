//! Any bytes are read as a checkpoint, or refused with a reason. Training goes on from what is read, or refuses it.

use tilegrad::Error;
use tilegrad::data::Output;
use tilegrad::engine::Loop;
use tilegrad::models::{Checkpoint, Checkpoints, FittedLinear, LinearRegression};

use crate::{BYTES, dataset, file, message};

/// The steps that training is to do in all.
const ITERATIONS: usize = 8;
/// A checkpoint each so many steps.
const EVERY: usize = 4;

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

/// Trains as far as `iterations`, with checkpoints.
pub(crate) fn train(checkpoints: Checkpoints, iterations: usize) -> Result<FittedLinear, Error> {
    let settings = LinearRegression::new().iterations(iterations);
    settings.fit_resumable(&Loop, &dataset(), checkpoints.every(EVERY), |_| ())
}

fn refused(error: &Error, place: &str) {
    assert!(matches!(error, Error::Checkpoint { .. }), "a bad checkpoint is reported as {error:?}");
    message(error, place);
}
