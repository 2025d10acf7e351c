//! What this crate's files have in common: safetensors, with what the numbers mean in the metadata.
//!
//! The metadata have one entry, `tilegrad`: a JSON object that begins with `version` and `kind`. Tensors are row-major. The
//! same contents give the same bytes.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensorError, SafeTensors};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The entry in a file's metadata.
const ENTRY: &str = "tilegrad";

/// The longest header that safetensors takes, in bytes.
const LONGEST_HEADER: u64 = 100_000_000;

/// A sort of file, and the words for it in messages.
pub(super) struct Format {
    /// The version that is written, and the only one that is read.
    pub version: u64,
    pub name: &'static str,
    /// What to do about a file that cannot be used.
    pub remedy: &'static str,
}

/// What is read of the metadata before the rest: other kinds and versions may have another rest.
#[derive(Serialize, Deserialize)]
struct Stamp {
    version: u64,
    kind: String,
}

#[derive(Serialize)]
struct Stamped<'a, A> {
    #[serde(flatten)]
    stamp: Stamp,
    #[serde(flatten)]
    about: &'a A,
}

/// A type of numbers that files hold.
pub(super) trait Number: bytemuck::Pod + PartialEq + std::fmt::Display {
    const DTYPE: Dtype;

    fn to_bytes(self) -> Vec<u8>;

    fn from_bytes(bytes: &[u8]) -> Vec<Self>;
}

impl Number for f64 {
    const DTYPE: Dtype = Dtype::F64;

    fn to_bytes(self) -> Vec<u8> {
        self.to_le_bytes().to_vec()
    }

    fn from_bytes(bytes: &[u8]) -> Vec<Self> {
        bytes.as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect()
    }
}

impl Number for f32 {
    const DTYPE: Dtype = Dtype::F32;

    fn to_bytes(self) -> Vec<u8> {
        self.to_le_bytes().to_vec()
    }

    fn from_bytes(bytes: &[u8]) -> Vec<Self> {
        bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    }
}

/// A tensor to be written.
pub(super) struct Tensor {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Tensor {
    /// `values`, of this shape.
    pub(super) fn new<N: Number>(name: impl Into<String>, shape: &[usize], values: &[N]) -> Self {
        debug_assert_eq!(shape.iter().product::<usize>(), values.len());
        let bytes = values.iter().flat_map(|value| value.to_bytes()).collect();
        Tensor { name: name.into(), dtype: N::DTYPE, shape: shape.to_vec(), bytes }
    }

    /// A vector.
    pub(super) fn vector<N: Number>(name: impl Into<String>, values: &[N]) -> Self {
        Self::new(name, &[values.len()], values)
    }
}

impl Format {
    /// The file of this kind with `about` (a JSON object) and `tensors`.
    ///
    /// # Errors
    /// Names so long that the format does not take them.
    pub(super) fn to_bytes(&self, kind: &str, about: &impl Serialize, tensors: &[Tensor]) -> Result<Vec<u8>> {
        let stamp = Stamp { version: self.version, kind: kind.to_owned() };
        let about =
            serde_json::to_string(&Stamped { stamp, about }).expect("text and finite numbers are JSON");
        let views = tensors.iter().map(|Tensor { name, dtype, shape, bytes }| {
            let view = TensorView::new(*dtype, shape.clone(), bytes);
            (name, view.expect("the bytes are made from values of this shape"))
        });
        // One entry only: a map of several would be written in an order that changes from run to run.
        let metadata = HashMap::from([(ENTRY.to_owned(), about)]);
        safetensors::serialize(views, Some(metadata)).map_err(|error| {
            let name = self.name;
            Error::Data(format!(
                "the features' names are too long for a {name} ({error}): choose shorter ones"
            ))
        })
    }

    /// The kind, which is one of `kinds`, what the metadata say, and the tensors.
    pub(super) fn read<'a, A: DeserializeOwned>(
        &'a self,
        kinds: &[&'static str],
        bytes: &'a [u8],
    ) -> Result<(&'static str, A, Tensors<'a>), String> {
        let Format { version, name, remedy } = self;
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| match error {
            SafeTensorError::MetadataIncompleteBuffer => format!(
                "the file is damaged: it does not have the length that its header says (was it copied whole?); \
                 {remedy} or take another copy"
            ),
            error => {
                format!("this is no {name}, or a damaged one ({error}); give the file that training wrote")
            }
        })?;
        let about = header.metadata().as_ref().and_then(|metadata| metadata.get(ENTRY)).ok_or_else(|| {
            "this is a safetensors file, but not one that tilegrad wrote: give the file that training wrote"
                .to_owned()
        })?;
        let stamp: Stamp = serde_json::from_str(about).map_err(|error| self.damaged(error))?;
        let Some(kind) = kinds.iter().find(|kind| **kind == stamp.kind) else {
            return Err(format!(
                "this is a file of kind {:?}; a {name}, of kind {}, is needed",
                stamp.kind,
                kinds.iter().map(|kind| format!("{kind:?}")).collect::<Vec<_>>().join(" or ")
            ));
        };
        if stamp.version != *version {
            return Err(format!(
                "the {name} has version {}, but tilegrad {} reads version {version}: {remedy}, or use the tilegrad \
                 that wrote it",
                stamp.version,
                env!("CARGO_PKG_VERSION")
            ));
        }
        let about = serde_json::from_str(about).map_err(|error| self.damaged(error))?;
        let tensors = SafeTensors::deserialize(bytes).map_err(|error| self.damaged(error))?;
        Ok((kind, about, Tensors { format: self, tensors }))
    }

    /// The message for a file whose contents do not fit together.
    pub(super) fn damaged(&self, what: impl std::fmt::Display) -> String {
        format!("the {} is damaged: {what}; {} or take another copy", self.name, self.remedy)
    }
}

/// The tensors of a file.
pub(super) struct Tensors<'a> {
    format: &'a Format,
    tensors: SafeTensors<'a>,
}

impl Tensors<'_> {
    /// The tensors' names, in order.
    pub(super) fn names(&self) -> Vec<String> {
        let mut names = self.tensors.names();
        names.sort_unstable();
        names.into_iter().map(str::to_owned).collect()
    }

    /// A tensor of this shape, or a vector of any length, each of whose numbers `fits`.
    pub(super) fn numbers<N: Number>(
        &self,
        name: &str,
        shape: Option<&[usize]>,
        fits: fn(N) -> bool,
    ) -> Result<Vec<N>, String> {
        let view = self.tensors.tensor(name).map_err(|error| self.format.damaged(error))?;
        let right = match shape {
            Some(shape) => view.shape() == shape,
            None => view.shape().len() == 1,
        };
        if view.dtype() != N::DTYPE || !right {
            let shape = shape.map_or("[any number]".to_owned(), |shape| format!("{shape:?}"));
            return Err(self.format.damaged(format_args!(
                "{name} is {:?} {:?}, not {:?} {shape}",
                view.dtype(),
                view.shape(),
                N::DTYPE
            )));
        }
        let values = N::from_bytes(view.data());
        match values.iter().find(|value| !fits(**value)) {
            None => Ok(values),
            Some(value) => Err(self.format.damaged(format_args!("{name} holds {value}"))),
        }
    }
}

/// Reads what `read` makes of the file at `path`; `refuse` makes an error of what it says.
pub(super) fn load<T>(
    path: &Path,
    read: impl Fn(&[u8]) -> Result<T, String>,
    refuse: impl Fn(String) -> Error,
) -> Result<T> {
    let unreadable = |source| Error::unreadable(path, source);
    // What is not a regular file might have no end.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(refuse("this is not a file: give the file that training wrote".to_owned()));
    }
    let mut file = File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.by_ref().take(8).read_to_end(&mut bytes).map_err(unreadable)?;
    // Of a file of another kind, which may be of any size, these are no length of a header: no more is read of it.
    if bytes.as_array().is_some_and(|length| u64::from_le_bytes(*length) <= LONGEST_HEADER) {
        file.read_to_end(&mut bytes).map_err(unreadable)?;
    }
    read(&bytes).map_err(refuse)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_file_of_another_kind_is_not_read() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "a,b\n1,2\n").unwrap();
        file.as_file().set_len(1 << 30).unwrap();
        let length = |path: &Path| load(path, |bytes| Ok(bytes.len()), |_| unreachable!());
        assert_eq!(length(file.path()).unwrap(), 8);
        std::fs::write(file.path(), [2, 0, 0, 0, 0, 0, 0, 0, b'{', b'}']).unwrap();
        assert_eq!(length(file.path()).unwrap(), 10);
        std::fs::write(file.path(), "abc").unwrap();
        assert_eq!(length(file.path()).unwrap(), 3);
    }
}
