//! From which sizes on each rung of the product's ladder is taken: by estimates, or as it was measured on the GPU.

use std::env;
use std::fs::File;
use std::io::Read;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Device;
use crate::cuda::{GpuInfo, Version};

/// The environment variable that names a file with measured sizes: what `tilegrad bench --device cuda --rungs --json FILE` wrote
/// on the GPU that is used.
pub const RUNGS_VARIABLE: &str = "TILEGRAD_RUNGS";

/// From which sizes on each rung is taken in place of those before it, the fastest of which depends on the GPU. `None`: it never
/// is. A tile is 128 × 128 elements of the product, and the last in a row or column may lie in it in part.
///
/// `split_k` and `warp_tiled` change no bit of a result. With `tf32x3` or `wgmma` the product's bits for [`Precision::Fp32`] are
/// those of this kind of GPU, and so they are with `tensor_cores` for the other two.
///
/// [`Precision::Fp32`]: super::Precision::Fp32
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rungs {
    /// Blocks of 64 × 64 in place of 32 × 32: with the shorter side of the product so long. What is split along k has them anyway.
    #[serde(deserialize_with = "Option::deserialize")] // it must be there
    pub split_k: Option<NonZeroUsize>,
    /// Blocks of 128 × 128: with so many tiles, of a product that is not split.
    #[serde(deserialize_with = "Option::deserialize")] // it must be there
    pub warp_tiled: Option<NonZeroUsize>,
    /// For fp32 three products of tf32 by warps: with so many tiles.
    #[serde(deserialize_with = "Option::deserialize")] // it must be there
    pub tf32x3: Option<NonZeroUsize>,
    /// The same by warpgroups, in place of those by warps: with so many tiles. Compute capability 9.0 alone has them.
    #[serde(deserialize_with = "Option::deserialize")] // it must be there
    pub wgmma: Option<NonZeroUsize>,
    /// Tensor cores for tf32 and bf16: with so many tiles.
    #[serde(deserialize_with = "Option::deserialize")] // it must be there
    pub tensor_cores: Option<NonZeroUsize>,
}

impl Rungs {
    /// What is used on GPUs of this architecture, and on the emulator, which has none, as long as nothing was measured. **Each is an
    /// estimate.**
    ///
    /// - `split_k` is half of a block's side and one: with less, more than half of its columns or rows would be computed for
    ///   nothing.
    /// - `warp_tiled` is the number of multiprocessors (A100: 108, H100 and H200: 132), below which some of them would have no tile.
    /// - `tensor_cores`: by their data sheets they compute seven times as fast as fused multiply-adds (H200: 494 TFLOP/s, tf32, to
    ///   67), so on 19 of 132 multiprocessors as fast as these on all.
    /// - `tf32x3` and `wgmma` are never taken, as the bound on their error rests on how tensor cores are thought to add.
    #[must_use]
    pub fn estimated(architecture: Option<Version>) -> Self {
        let hopper_or_later = architecture.is_some_and(|ours| ours >= Version::new(9, 0));
        Rungs {
            split_k: NonZeroUsize::new(33),
            warp_tiled: NonZeroUsize::new(if hopper_or_later { 132 } else { 108 }),
            tf32x3: None,
            wgmma: None,
            tensor_cores: NonZeroUsize::new(19),
        }
    }

    /// What was measured on this GPU, with the file's name, if [`RUNGS_VARIABLE`] names one; or why it cannot be used.
    pub(crate) fn named(gpu: &GpuInfo) -> Result<Option<(Self, PathBuf)>, String> {
        let named = env::var_os(RUNGS_VARIABLE).filter(|path| !path.is_empty());
        let Some(path) = named.map(PathBuf::from) else { return Ok(None) };
        match Rungs::measured(&path, gpu) {
            Ok(rungs) => Ok(Some((rungs, path))),
            Err(problem) => Err(format!(
                "{RUNGS_VARIABLE} names {}, {problem}; unset it, or measure the rungs of this GPU: tilegrad bench --device {} --rungs \
                 --json FILE",
                path.display(),
                Device::Cuda(gpu.index)
            )),
        }
    }

    fn measured(path: &Path, gpu: &GpuInfo) -> Result<Self, String> {
        /// Of a report, which has some hundred kilobytes.
        const MOST_BYTES: u64 = 64 << 20;
        /// What matters of a report.
        #[derive(Deserialize)]
        struct Report {
            tilegrad: String,
            complete: bool,
            shapes: String,
            gpu: Option<Facts>,
            rungs: Option<Rungs>,
        }
        #[derive(Deserialize)]
        struct Facts {
            name: String,
        }
        let mut text = String::new();
        File::open(path)
            .and_then(|file| file.take(MOST_BYTES).read_to_string(&mut text))
            .map_err(|error| format!("which cannot be read: {error}"))?;
        let report: Report = serde_json::from_str(&text)
            .map_err(|error| format!("which is no report of tilegrad bench: {error}"))?;
        let here = env!("CARGO_PKG_VERSION");
        match report {
            Report { complete: false, .. } => Err("whose measurement did not come to its end".to_owned()),
            Report { shapes, .. } if shapes != "timed" => {
                Err("which was measured at the small shapes of --small".to_owned())
            }
            Report { tilegrad, .. } if tilegrad != here => {
                Err(format!("which was measured by tilegrad {tilegrad}, and this is {here}"))
            }
            Report { gpu: Some(Facts { name }), .. } if name != gpu.name => {
                Err(format!("which was measured on {name}, and this is {}", gpu.name))
            }
            Report { gpu: Some(_), rungs: Some(rungs), .. } => Ok(rungs),
            Report { .. } => {
                Err("which has no sizes: they are made of all rungs of a GPU, and if all are right"
                    .to_owned())
            }
        }
    }

    /// What makes the bits of products for fp32 those of a kind of GPU, if something does.
    pub(super) fn arithmetic(&self) -> Option<String> {
        let taken = [("tf32x3", self.tf32x3), ("wgmma", self.wgmma)];
        let taken = taken.map(|(rung, from)| from.map(|from| format!("{rung} for ≥ {from} tiles")));
        let taken: Vec<String> = taken.into_iter().flatten().collect();
        (!taken.is_empty()).then(|| taken.join(", "))
    }
}

/// Whether a size is one from which on a rung is taken.
pub(super) fn reaches(size: usize, from: Option<NonZeroUsize>) -> bool {
    from.is_some_and(|from| size >= from.get())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gpu() -> GpuInfo {
        GpuInfo {
            index: 1,
            name: "NVIDIA H200".to_owned(),
            capability: Version::new(9, 0),
            multiprocessors: 132,
            shared_bytes: 227 << 10,
            memory: 1 << 30,
            ecc: true,
            driver: Version::new(13, 0),
        }
    }

    #[test]
    fn measured_sizes_are_those_of_this_gpu_by_this_version_at_all_shapes() {
        let rungs = Rungs { wgmma: NonZeroUsize::new(16), ..Rungs::estimated(None) };
        let report = serde_json::json!({
            "tilegrad": env!("CARGO_PKG_VERSION"), "complete": true, "shapes": "timed",
            "gpu": { "name": "NVIDIA H200", "ecc": true }, "rungs": rungs, "results": [],
        });
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rungs.json");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            Rungs::measured(&path, &gpu())
        };
        assert_eq!(read(&report.to_string()), Ok(rungs));
        for (key, value, problem) in [
            ("tilegrad", serde_json::json!("0.0.1"), "by tilegrad 0.0.1, and this is"),
            ("complete", false.into(), "did not come to its end"),
            ("shapes", "counted".into(), "small shapes of --small"),
            ("gpu", serde_json::json!({ "name": "NVIDIA A100" }), "on NVIDIA A100, and this is NVIDIA H200"),
            ("gpu", serde_json::Value::Null, "has no sizes"),
            ("rungs", serde_json::Value::Null, "has no sizes"),
            ("rungs", serde_json::json!({ "split_k": 0 }), "no report of tilegrad bench: invalid value"),
            ("rungs", serde_json::json!({ "cublas": 1 }), "unknown field `cublas`"),
            ("rungs", serde_json::json!({ "split_k": 1 }), "missing field"),
        ] {
            let mut other = report.clone();
            other[key] = value;
            let refused = read(&other.to_string()).unwrap_err();
            assert!(refused.contains(problem), "{key}: {refused}");
        }
        assert!(read("").unwrap_err().starts_with("which is no report of tilegrad bench: "));
        let nowhere = Rungs::measured(&folder.path().join("none"), &gpu()).unwrap_err();
        assert!(nowhere.starts_with("which cannot be read: "), "{nowhere}");
    }

    #[test]
    fn what_changes_bits_is_named() {
        let [one, many] = [1, 64].map(NonZeroUsize::new);
        let estimated = Rungs::estimated(None);
        for same in [
            estimated,
            Rungs { split_k: one, ..estimated },
            Rungs { warp_tiled: None, ..estimated },
            Rungs { tensor_cores: many, ..estimated },
        ] {
            assert_eq!(same.arithmetic(), None, "{same:?}");
        }
        let text = |rungs: Rungs| rungs.arithmetic().unwrap();
        assert_eq!(text(Rungs { tf32x3: one, ..estimated }), "tf32x3 for ≥ 1 tiles");
        assert_eq!(text(Rungs { wgmma: many, ..estimated }), "wgmma for ≥ 64 tiles");
        assert_eq!(
            text(Rungs { tf32x3: one, wgmma: many, ..estimated }),
            "tf32x3 for ≥ 1 tiles, wgmma for ≥ 64 tiles"
        );
    }
}
