//! A network of three small layers in one launch.

use std::sync::PoisonError;

use cuda_std::Device;
use kernels::dense::network;

use super::{DeviceEngine, DeviceMatrix};
use crate::engine::{Activation, Layer, check};
use crate::{Error, Result};

/// Whether three layers are done in one launch: where they are so small that launches are most of their time. **Not
/// measured**: estimates.
pub(super) fn together<D: Device>(input: &DeviceMatrix<D>, layers: [&Layer<'_, DeviceMatrix<D>>; 3]) -> bool {
    const MOST_ROWS: u32 = 64;
    const MOST_UNITS: u32 = 1024;
    (1..=MOST_ROWS).contains(&input.rows)
        && layers.iter().all(|layer| layer.weights.rows.max(layer.weights.columns) <= MOST_UNITS)
}

impl<D: Device> DeviceEngine<D>
where
    Error: From<D::Error>,
{
    pub(super) fn three_layers(
        &self,
        input: &DeviceMatrix<D>,
        layers: [&Layer<'_, DeviceMatrix<D>>; 3],
    ) -> Result<DeviceMatrix<D>> {
        /// The emulator has a stack for each thread of such a launch.
        const EMULATED_BLOCKS: usize = 8;
        let mut shape = input.shape();
        for layer in layers {
            check::dense(shape, layer.weights.shape(), layer.bias.shape())?;
            self.own("network", [input, layer.weights, layer.bias])?;
            shape.1 = layer.weights.shape().1;
        }
        let [first, second, third] = layers;
        let batch = input.shape().0;
        let [n1, n2, n3] = layers.map(|layer| layer.weights.shape().1);
        let mut hidden = self.allocate(network::hidden_elements(batch, [n1, n2]))?;
        let mut out = self.matrix("network", (batch, n3))?;
        // What is behind the lock is valid at any time.
        let mut kept = self.barrier.lock().unwrap_or_else(PoisonError::into_inner);
        // Taken out, and put back when nothing went wrong: a kernel that failed leaves a barrier that is not as it was.
        let mut barrier = match kept.take() {
            Some(barrier) => barrier,
            None => self.device.upload(&[0; network::BARRIER])?,
        };
        let code = |layer: &Layer<'_, DeviceMatrix<D>>| match layer.activation {
            Activation::Identity => network::IDENTITY,
            Activation::Relu => network::RELU,
            Activation::Sigmoid => network::SIGMOID,
        };
        let activations = code(first) | code(second) << 8 | code(third) << 16;
        let most = if self.architecture.is_some() { network::BLOCKS } else { EMULATED_BLOCKS };
        // Which block computes a tile changes no bit.
        let blocks = most.min(self.device.resident_blocks());
        let arguments = (
            input.rows,
            input.columns,
            first.weights.columns,
            second.weights.columns,
            third.weights.columns,
            activations,
            &input.buffer,
            &first.weights.buffer,
            &first.bias.buffer,
            &second.weights.buffer,
            &second.bias.buffer,
            &third.weights.buffer,
            &third.bias.buffer,
            &mut barrier,
            &mut hidden,
            &mut out.buffer,
        );
        // SAFETY: the layers fit together and their buffers are as large as their shapes say, as was checked; `hidden` and
        // `out` were made for them.
        unsafe { self.launch(&network::NETWORK, network::grid(batch, [n1, n2, n3], blocks), arguments) }?;
        *kept = Some(barrier);
        Ok(out)
    }
}
