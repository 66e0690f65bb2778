//! What the kernel offers, asked without changing anything: for `ringcask doctor`.

use io_uring::{IoUring, Probe, opcode};

use super::queue::explain_setup_error;

pub use super::arena::locked_bytes;

/// Operations that the two rings of a core use, by the names of io_uring_enter(2).
const OPERATIONS: &[(&str, u8)] = &[
    ("ACCEPT", opcode::Accept::CODE),
    ("ASYNC_CANCEL", opcode::AsyncCancel::CODE),
    ("CLOSE", opcode::Close::CODE),
    ("FALLOCATE", opcode::Fallocate::CODE),
    ("FSYNC", opcode::Fsync::CODE),
    ("OPENAT", opcode::OpenAt::CODE),
    ("POLL_ADD", opcode::PollAdd::CODE),
    ("READ", opcode::Read::CODE),
    ("READ_FIXED", opcode::ReadFixed::CODE),
    ("RECV", opcode::Recv::CODE),
    ("RENAMEAT", opcode::RenameAt::CODE),
    ("SEND", opcode::Send::CODE),
    ("SENDMSG", opcode::SendMsg::CODE),
    ("TIMEOUT", opcode::Timeout::CODE),
    ("UNLINKAT", opcode::UnlinkAt::CODE),
    ("WRITE", opcode::Write::CODE),
    ("WRITEV", opcode::Writev::CODE),
    ("WRITE_FIXED", opcode::WriteFixed::CODE),
];

/// Sets a ring up as a core does, closes it, and returns the operations that a core uses and this kernel does not
/// know.
///
/// # Errors
///
/// One sentence for the person at the prompt: why there can be no ring.
pub fn io_uring_operations_missing() -> Result<Vec<&'static str>, String> {
    let ring: IoUring = IoUring::builder()
        .setup_single_issuer()
        .setup_coop_taskrun()
        .setup_submit_all()
        .setup_clamp()
        .dontfork()
        .build(2)
        .map_err(|error| explain_setup_error(&error).to_string())?;
    let mut probe = Probe::new();
    ring.submitter()
        .register_probe(&mut probe)
        .map_err(|error| format!("the kernel does not tell its operations: {error}"))?;
    let missing = OPERATIONS.iter().filter(|(_, code)| !probe.is_supported(*code));
    Ok(missing.map(|(name, _)| *name).collect())
}

/// Whether the kernel holds its clock to be synchronised, as adjtimex(2) tells; `None` if it does not say.
pub fn is_clock_synchronised() -> Option<bool> {
    // SAFETY: all fields are numbers (and padding), for which zero is a value.
    let mut state: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: `modes` is zero, so the call only fills in the struct, which is ours.
    match unsafe { libc::adjtimex(&raw mut state) } {
        -1 => None,
        state => Some(state != libc::TIME_ERROR),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_that_runs_the_tests_has_every_operation() {
        assert_eq!(io_uring_operations_missing(), Ok(Vec::new()));
        // Whatever it is, asking works.
        let _ = is_clock_synchronised();
    }
}
