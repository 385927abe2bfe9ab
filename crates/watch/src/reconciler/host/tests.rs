use std::path::Path;

use evenkeel_engine::fake_kernel::SharedKernel;

use super::*;

const NOW: Duration = Duration::from_secs(1_000);

fn host(kernel: &SharedKernel) -> Host<SharedKernel> {
    let kernel = kernel.clone();
    Host::new(Box::new(move |_| Ok(kernel.clone())))
}

/// Makes the current state the one in sync, until a second later.
fn set_baseline(host: &mut Host<SharedKernel>) {
    let request = ReadRequest::new();
    let kernel = host.kernel().expect("it is connected");
    let table_digest = kernel.probe().expect("the table can be read");
    let live = kernel.observe(&request).expect("the kernel can be read");
    let until = NOW + Duration::from_secs(1);
    let not_in_proc = BTreeSet::new();
    host.set_baseline(SyncBaseline { table_digest, live, not_in_proc, request, until });
}

#[test]
fn a_host_is_connected_by_the_first_reading_and_again_after_a_disconnect() {
    let kernel = SharedKernel::default();
    let mut host = host(&kernel);
    assert!(host.kernel().is_err());
    host.observe(std::iter::empty()).expect("it connects");
    assert!(host.kernel().is_ok());
    host.disconnect();
    assert!(host.kernel().is_err());
    host.observe(std::iter::empty()).expect("it connects again");
}

#[test]
fn a_probe_compares_with_a_baseline_only_while_there_is_one_that_is_not_too_old() {
    let kernel = SharedKernel::default();
    let mut host = host(&kernel);
    let unchanged =
        |host: &mut Host<SharedKernel>, now| host.is_unchanged_since_sync(now).expect("a probe");
    host.observe(std::iter::empty()).expect("it connects");
    assert!(!unchanged(&mut host, NOW));
    set_baseline(&mut host);
    assert!(unchanged(&mut host, NOW));
    assert!(!unchanged(&mut host, NOW + Duration::from_secs(1)));
    host.forget_baseline();
    assert!(!unchanged(&mut host, NOW));
    set_baseline(&mut host);
    host.disconnect();
    assert!(!unchanged(&mut host, NOW));
}

#[test]
fn a_journal_that_cannot_be_written_is_not_kept() {
    let mut host = host(&SharedKernel::default());
    let mut journal = host.journal().clone();
    journal.record.applied = true;
    let nowhere = StateDir::new(Path::new("/proc/self/nothing"), "init");
    assert!(host.update_journal(&nowhere, journal.clone()).is_err());
    assert!(!host.journal().record.applied);
    let folder = tempfile::tempdir().expect("a folder");
    let state = StateDir::new(folder.path(), "init");
    host.update_journal(&state, journal.clone()).expect("it is written");
    assert_eq!(*host.journal(), journal);
    // An unchanged journal is not written again.
    host.update_journal(&nowhere, journal).expect("nothing is written");
}
