//! Any bytes are read as a model, or refused with a reason. What is read can be saved, and predicts.

use tilegrad::Error;
use tilegrad::data::Table;
use tilegrad::engine::{Cpu, Engine, Loop};
use tilegrad::models::{Model, Predictions};

use crate::{BYTES, message};

/// These bytes are a model that saves to bytes which load as the same model and save to the same bytes, and that
/// predicts on the engines of the CPU; or they are refused as a model.
pub fn model(bytes: &[u8]) {
    let model = match Model::from_bytes(bytes) {
        Ok(model) => model,
        Err(error) => {
            assert!(matches!(error, Error::Model { .. }), "a bad model is reported as {error:?}");
            message(&error, BYTES);
            return;
        }
    };
    let saved = model.to_bytes().expect("what was read can be saved");
    let again = Model::from_bytes(&saved).expect("what was saved can be loaded");
    assert_eq!(again, model);
    assert_eq!(again.to_bytes().expect("it was saved before"), saved, "the same model gives the same bytes");

    // As many columns as the file says; their names may be what no table takes.
    let values: Vec<f32> = (0..3 * model.features().len()).map(|i| i as f32 - 2.0).collect();
    if let Ok(table) = Table::new(model.features().to_vec(), values) {
        predict(&Loop, &model, &table);
        predict(&Cpu, &model, &table);
    }
}

fn predict<E: Engine>(engine: &E, model: &Model, table: &Table) {
    match model.predict(engine, table) {
        Ok(Predictions::Values(values)) => {
            assert_eq!(values.len(), table.rows());
            assert!(values.iter().all(|value| value.is_finite()));
        }
        Ok(Predictions::Classes { classes, labels, probabilities }) => {
            assert_eq!((labels.len(), probabilities.len()), (table.rows(), table.rows() * classes.len()));
            assert!(labels.iter().all(|label| *label < classes.len()));
            assert!(probabilities.iter().all(|p| (0.0..=1.0).contains(p)));
        }
        Err(Error::Data(_)) => {}
        Err(error) => panic!("{}: {error:?}", engine.description()),
    }
}
