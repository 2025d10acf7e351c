//! Model files: safetensors, with what the numbers mean in its metadata.
//!
//! The metadata have one entry, `tilegrad`: a JSON object with `version`, `kind`, `features`, `target`, `scale` and
//! `training`. The tensors, all of `f64`: `weights` (features) and `bias` (1) for scaled features, `mean` and
//! `standard_deviation` (features). A prediction is Σ weights · (x − mean) / standard_deviation + bias.
//!
//! The same model gives the same bytes. In Python:
//!
//! ```text
//! with safetensors.safe_open("model.safetensors", "np") as file:
//!     about = json.loads(file.metadata()["tilegrad"])
//!     weights = file.get_tensor("weights")
//! ```

use std::collections::HashMap;
use std::path::Path;

use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensorError, SafeTensors};
use serde::{Deserialize, Serialize};

use super::{FittedLinear, Scale, Scaler, Training};
use crate::data::{Output, repeated};
use crate::{Error, Result};

/// The version of the format that is written, and the only one that is read.
const VERSION: u64 = 1;
/// The entry in the file's metadata.
const ENTRY: &str = "tilegrad";
/// What the file holds.
const KIND: &str = "linear";

#[derive(Serialize, Deserialize)]
struct About {
    version: u64,
    kind: String,
    features: Vec<String>,
    target: String,
    scale: Scale,
    training: Training,
}

/// What is read of the metadata before the rest: other versions may have another rest.
#[derive(Deserialize)]
struct Stamp {
    version: u64,
    kind: String,
}

impl FittedLinear {
    /// Writes the model to a file, whole or not at all.
    ///
    /// # Errors
    /// The file cannot be written; what was there before is there still.
    pub fn save(&self, output: &Output) -> Result<()> {
        output.write(&self.to_bytes())
    }

    /// Reads a model that [`FittedLinear::save`] wrote: bit for bit the same, but for the history of costs, which is
    /// not in the file.
    ///
    /// # Errors
    /// The file cannot be read, is cut short, is no model of this crate's, has another version or kind of model, or
    /// its numbers do not fit together.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let unreadable = |source| Error::unreadable(path, source);
        // What is not a regular file might have no end.
        if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
            return Err(Error::Model { path: path.to_owned(), problem: "this is not a file".to_owned() });
        }
        let bytes = std::fs::read(path).map_err(unreadable)?;
        Self::from_bytes(&bytes).map_err(|problem| Error::Model { path: path.to_owned(), problem })
    }

    fn to_bytes(&self) -> Vec<u8> {
        let about = About {
            version: VERSION,
            kind: KIND.to_owned(),
            features: self.features.clone(),
            target: self.target.clone(),
            scale: self.scaler.scale(),
            training: self.training.clone(),
        };
        let about = serde_json::to_string(&about).expect("names and finite numbers are JSON");
        let bytes = |values: &[f64]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
        let tensors = [
            ("weights", bytes(&self.weights)),
            ("bias", bytes(&[self.bias])),
            ("mean", bytes(self.scaler.mean())),
            ("standard_deviation", bytes(self.scaler.standard_deviation())),
        ];
        let views = tensors.iter().map(|(name, bytes)| {
            let shape = vec![bytes.len() / size_of::<f64>()];
            (name, TensorView::new(Dtype::F64, shape, bytes).expect("the shape is made from the bytes"))
        });
        // One entry only: a map of several would be written in an order that changes from run to run.
        let metadata = HashMap::from([(ENTRY.to_owned(), about)]);
        safetensors::serialize(views, Some(metadata)).expect("four small tensors can be written")
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| match error {
            SafeTensorError::MetadataIncompleteBuffer => {
                "the file is damaged: it does not have the length that its header says (was it copied whole?); \
                 train the model again or take another copy"
                    .to_owned()
            }
            error => format!(
                "this is no model file, or a damaged one ({error}); give the file that training wrote"
            ),
        })?;
        let about = header.metadata().as_ref().and_then(|metadata| metadata.get(ENTRY)).ok_or_else(|| {
            "this is a safetensors file, but not one that tilegrad wrote: give the file that training wrote"
                .to_owned()
        })?;
        let damaged = |what: &str| {
            format!("the model file is damaged: {what}; train the model again or take another copy")
        };
        let stamp: Stamp = serde_json::from_str(about).map_err(|error| damaged(&error.to_string()))?;
        if stamp.version != VERSION {
            return Err(format!(
                "the model file has version {}, but tilegrad {} reads version {VERSION}: train the model again, or use \
                 the tilegrad that wrote it",
                stamp.version,
                env!("CARGO_PKG_VERSION")
            ));
        }
        if stamp.kind != KIND {
            return Err(format!(
                "the file holds a model of kind {:?}; one of kind {KIND:?} is needed",
                stamp.kind
            ));
        }
        let about: About = serde_json::from_str(about).map_err(|error| damaged(&error.to_string()))?;

        let tensors = SafeTensors::deserialize(bytes).map_err(|error| damaged(&error.to_string()))?;
        let features = about.features.len();
        let numbers = |name: &str, length: usize| -> Result<Vec<f64>, String> {
            let view = tensors.tensor(name).map_err(|error| damaged(&error.to_string()))?;
            if view.dtype() != Dtype::F64 || view.shape() != [length] {
                return Err(damaged(&format!(
                    "{name} is {:?} {:?}, not F64 [{length}]",
                    view.dtype(),
                    view.shape()
                )));
            }
            let (values, _) = view.data().as_chunks();
            let values: Vec<f64> = values.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect();
            match values.iter().find(|value| !(**value as f32).is_finite()) {
                None => Ok(values),
                Some(value) => Err(damaged(&format!("{name} holds {value}"))),
            }
        };
        let weights = numbers("weights", features)?;
        let bias = numbers("bias", 1)?[0];
        let mean = numbers("mean", features)?;
        let standard_deviation = numbers("standard_deviation", features)?;
        if let Some(value) = standard_deviation.iter().find(|value| **value as f32 <= 0.0) {
            return Err(damaged(&format!("standard_deviation holds {value}")));
        }
        if features == 0 {
            return Err(damaged("it has no features"));
        }
        if let Some(name) = repeated(&about.features) {
            return Err(damaged(&format!("it has two features named {name:?}")));
        }
        Ok(FittedLinear {
            features: about.features,
            target: about.target,
            scaler: Scaler::from_parts(about.scale, mean, standard_deviation),
            weights,
            bias,
            training: about.training,
            history: Vec::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> FittedLinear {
        FittedLinear {
            features: vec!["a".to_owned(), "täg,\"b\"".to_owned()],
            target: "y".to_owned(),
            scaler: Scaler::from_parts(Scale::ZScore, vec![1.0 / 3.0, -1e-30], vec![1e-20, 3.0]),
            weights: vec![-0.1, f64::MIN_POSITIVE],
            bias: -0.0,
            training: Training {
                learning_rate: 0.1,
                iterations: 1000,
                device: "loop".to_owned(),
                samples: 442,
                cost: 0.1 + 0.2,
                constant_features: vec!["a".to_owned()],
            },
            history: Vec::new(),
        }
    }

    /// The file with its metadata's JSON changed, and its lengths set right.
    fn changed(from: &str, to: &str) -> Result<FittedLinear, String> {
        let bytes = model().to_bytes();
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let header = std::str::from_utf8(&bytes[8..8 + length]).unwrap();
        assert!(header.contains(from), "{header}");
        let header = header.replacen(from, to, 1);
        let bytes = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &bytes[8 + length..]].concat();
        FittedLinear::from_bytes(&bytes)
    }

    #[test]
    fn a_model_comes_back_bit_for_bit() {
        let bytes = model().to_bytes();
        let read = FittedLinear::from_bytes(&bytes).unwrap();
        assert_eq!(read, model());
        assert!(read.bias.is_sign_negative());
        assert_eq!(read.to_bytes(), bytes);
    }

    #[test]
    fn no_length_and_no_flipped_bit_is_a_panic() {
        let bytes = model().to_bytes();
        for length in 0..bytes.len() {
            assert!(FittedLinear::from_bytes(&bytes[..length]).is_err(), "{length}");
        }
        for bit in 0..8 * bytes.len() {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            // A flip within a number may give another number; any answer but a panic will do.
            let _ = FittedLinear::from_bytes(&bytes);
        }
    }

    #[test]
    fn other_versions_kinds_and_contents_are_refused() {
        let text = |from, to| changed(from, to).unwrap_err();
        assert!(text(r#"\"version\":1"#, r#"\"version\":7"#).contains("has version 7, but tilegrad"));
        assert!(text(r#"\"kind\":\"linear\""#, r#"\"kind\":\"network\""#).contains("of kind \"network\""));
        assert!(text(r#""tilegrad":"#, r#""other":"#).contains("not one that tilegrad wrote"));
        assert!(text(r#"[\"a\","#, r#"[\"a\",\"b\","#).contains("not F64 [3]"));
        assert!(text(r#"\"features\""#, r#"\"fixtures\""#).contains("missing field `features`"));
        assert!(text(r#""mean":"#, r#""median":"#).contains("`mean` not found"));
        assert!(text("F64", "I64").contains("not F64"));
        assert!(FittedLinear::from_bytes(b"a,b\n1,2\n").unwrap_err().contains("no model file"));
    }

    #[test]
    fn numbers_that_are_not_finite_are_refused() {
        for (which, value) in
            [(0, f64::NAN), (0, f64::INFINITY), (0, 1e300), (1, f64::NAN), (2, 0.0), (2, -1.0)]
        {
            let mut model = model();
            match which {
                0 => model.weights[1] = value,
                1 => model.bias = value,
                _ => model.scaler = Scaler::from_parts(Scale::ZScore, vec![0.0; 2], vec![1.0, value]),
            }
            assert!(FittedLinear::from_bytes(&model.to_bytes()).unwrap_err().contains("damaged"), "{value}");
        }
    }
}
