// Copies from global to shared memory that go on while threads compute.

#ifndef SEGATTN_CUDA_ON_CPU  // the tests without a GPU define these three themselves

// Begins to copy 16 bytes, or to write 16 zeros. Both addresses are multiples of 16.
__device__ inline void copy_16_bytes(void* shared, const void* global, bool inside) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(unsigned(__cvta_generic_to_shared(shared))),
                 "l"(global), "r"(inside ? 16 : 0)
                 : "memory");
}

// Ends a group of copies, all that this thread has begun since the last one.
__device__ inline void end_group() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits for all of this thread's groups; a barrier then shows the copies to others.
__device__ inline void wait_for_copies() { asm volatile("cp.async.wait_all;" ::: "memory"); }

#endif
