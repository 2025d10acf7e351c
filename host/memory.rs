//! What the system is told of large memory.

/// Asks for huge pages behind the room of `storage`, if it is large. They are chosen when a page is first written; what has
/// been written is moved to them in the system's own time.
pub(crate) fn ask_for_huge_pages<T>(storage: &Vec<T>) {
    #[cfg(target_os = "linux")]
    {
        /// The smallest huge page, and a multiple of every page.
        const HUGE: usize = 2 << 20;
        let skipped = storage.as_ptr().cast::<u8>().align_offset(HUGE);
        let bytes = (storage.capacity() * size_of::<T>()).saturating_sub(skipped) / HUGE * HUGE;
        if bytes > 0 {
            // SAFETY: the bytes lie in the room that `storage` owns, and the advice changes no contents. It may be
            // refused, which costs only time.
            unsafe {
                libc::madvise(
                    storage.as_ptr().cast_mut().byte_add(skipped).cast(),
                    bytes,
                    libc::MADV_HUGEPAGE,
                )
            };
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = storage;
}

/// Gives what was freed back to the system, where the allocator keeps it for each thread that had it: what is needed next may
/// be elsewhere, and both would count.
pub(crate) fn give_back_what_is_free() {
    #[cfg(all(target_os = "linux", target_env = "gnu", not(miri)))]
    // SAFETY: it changes nothing that is in use, and may be called by any thread at any time.
    unsafe {
        libc::malloc_trim(0)
    };
}
