//! A `ptrace` for User-Mode Linux 6.1 on processors with more register state than it has room for.
//!
//! That kernel reads and writes the registers of its processes (`PTRACE_GETREGSET`,
//! `NT_X86_XSTATE`) through a buffer that ends with AVX-512 and PKRU. The host fills as much of it
//! as fits, but refuses to write from it (EFAULT, `xstateregs_set` of arch/x86/kernel/fpu/regset.c)
//! unless its size is that of all state the processor has, AMX tiles included. This library, loaded
//! before libc, passes the host a buffer of that size; what is beyond the kernel's own is left in
//! its initial state, which no process of the guest can leave: Linux asks for AMX by
//! `arch_prctl`, and that kernel does not know the request.
//!
//! It is no part of any crate: [`crate::xstate`] compiles it on the machines that need it.

use std::ffi::{c_int, c_long, c_void};
use std::ptr;

const SYS_PTRACE: c_long = 101;
/// The requests that answer with a word: libc returns it, the system call stores it.
const PEEK: std::ops::RangeInclusive<c_long> = 1..=3;
const GET_REGISTER_SET: c_long = 0x4204;
const SET_REGISTER_SET: c_long = 0x4205;
const NT_X86_XSTATE: usize = 0x202;
/// More than any processor has: AMX takes 11,008 bytes.
const LARGEST: usize = 64 << 10;
/// Where the header begins that says which components are not in their initial state.
const HEADER: usize = 512;
/// The components up to PKRU, which the kernel has room for.
const KNOWN: u64 = 0x3ff;

#[repr(C)]
struct IoVec {
    base: *mut u8,
    length: usize,
}

unsafe extern "C" {
    fn syscall(number: c_long, ...) -> c_long;
}

/// A kernel of one processor is one thread, and its stacks are too small for this.
static mut STATE: [u8; LARGEST] = [0; LARGEST];
/// How large the host's state is; 0 before it was asked for.
static mut SIZE: usize = 0;

/// As ptrace(2).
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ptrace(
    request: c_long,
    process: c_int,
    address: *mut c_void,
    data: *mut c_void,
) -> c_long {
    let process = c_long::from(process);
    // SAFETY: the caller keeps to ptrace(2), and no other thread is in here.
    unsafe {
        if PEEK.contains(&request) {
            let mut word: c_long = 0;
            let failed = syscall(SYS_PTRACE, request, process, address, &raw mut word) != 0;
            return if failed { -1 } else { word };
        }
        if request != SET_REGISTER_SET || address as usize != NT_X86_XSTATE {
            return syscall(SYS_PTRACE, request, process, address, data);
        }
        let given = &*(data as *const IoVec);
        let state = (&raw mut STATE).cast::<u8>();
        if SIZE == 0 {
            let mut all = IoVec { base: state, length: LARGEST };
            if syscall(SYS_PTRACE, GET_REGISTER_SET, process, address, &raw mut all) != 0 {
                return -1;
            }
            SIZE = all.length;
            ptr::write_bytes(state, 0, LARGEST);
        }
        if given.length >= SIZE || given.length < HEADER + size_of::<u64>() {
            return syscall(SYS_PTRACE, request, process, address, data);
        }
        ptr::copy_nonoverlapping(given.base, state, given.length);
        let components = state.add(HEADER).cast::<u64>();
        components.write_unaligned(components.read_unaligned() & KNOWN);
        let mut all = IoVec { base: state, length: SIZE };
        syscall(SYS_PTRACE, request, process, address, &raw mut all)
    }
}
