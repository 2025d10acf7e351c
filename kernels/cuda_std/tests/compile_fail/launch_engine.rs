use cuda_std::{Arguments, Buffer, Device, Element, Emulator, Fault, Kernel, Parameters, prelude::*};

/// Another place where kernels run, with memory of its own.
struct Other;

impl Device for Other {
    type Memory<T: Element> = Vec<T>;
    type Error = Fault;
    fn allocate<T: Element>(&self, length: usize) -> Result<Buffer<T, Self>, Fault> {
        Ok(Buffer::from_memory(vec![T::zeroed(); length]))
    }
    fn write<T: Element>(&self, _: &mut Buffer<T, Self>, _: usize, _: &[T]) -> Result<(), Fault> {
        Ok(())
    }
    fn read<T: Element>(&self, _: &Buffer<T, Self>, _: usize, _: &mut [T]) -> Result<(), Fault> {
        Ok(())
    }
    unsafe fn launch<P: Parameters, A: Arguments<P, Self>>(
        &self,
        _: &Kernel<P>,
        _: [u32; 3],
        _: A,
    ) -> Result<(), Fault> {
        Ok(())
    }
    fn synchronize(&self) -> Result<(), Fault> {
        Ok(())
    }
    fn length<T: Element>(memory: &Vec<T>) -> usize {
        memory.len()
    }
    fn global<T: Element>(memory: &Vec<T>) -> Global<T> {
        Global::from_address(memory.as_ptr() as u64, memory.len())
    }
    fn global_mut<T: Element>(memory: &mut Vec<T>) -> GlobalMut<T> {
        GlobalMut::from_address(memory.as_ptr() as u64, memory.len())
    }
}

#[kernel(block = [32, 1, 1])]
unsafe fn double(x: Global<f32>, y: GlobalMut<f32>) {
    let i = thread::thread_idx_x() as usize;
    y.write(i, 2.0 * x.read(i));
}

fn main() {
    let emulator = Emulator::default();
    let x = Other.upload(&[1.0_f32; 32]).unwrap();
    let mut y = emulator.allocate::<f32>(32).unwrap();
    emulator.launch(&DOUBLE, [1, 1, 1], (&x, &mut y)).unwrap();
}
