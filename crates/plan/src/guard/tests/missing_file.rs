//! Tests the guard `missing-file`.

use std::collections::BTreeMap;

use evenkeel_model::{FileContents, SyncState};

use super::*;
use crate::{Loss, LostFile};

#[test]
fn objects_of_a_missing_file_are_not_deleted() {
    let wanted = spec([(on(1), weighing(&[1]))], Drain::NONE);
    let live = bound(host([(on(1), weighing(&[1])), (on(2), weighing(&[1]))]), [vip(2)]);
    let record = PriorState::for_snapshot();
    let file = |services: &[ServiceKey], loss| LostFile {
        contents: FileContents {
            name: "b.yaml".to_owned(),
            services: services.iter().copied().collect(),
            vips: [vip(2)].into(),
            ..FileContents::default()
        },
        loss,
    };
    let message = |live: &Live, lost: LostFile| {
        let plan = plan(Inputs { lost_files: &[lost], ..Inputs::new(&wanted, live, &record) });
        refused(&plan).map(|(guard, message)| {
            assert_eq!(guard, Guard::MissingFile);
            message
        })
    };
    assert_eq!(
        message(&live, file(&[on(2), on(3)], Loss::Missing)).expect("it is refused"),
        "b.yaml is a file of the spec in force and is missing; this plan would remove what it \
         lists: vip 192.0.2.2/32 on eth0 and service 192.0.2.2:80/tcp; restore it, or empty it \
         (`services: []`) in one change and remove it in a later one"
    );
    let replaced = message(&live, file(&[on(2)], Loss::Replaced)).expect("it is refused");
    assert!(replaced.starts_with("b.yaml lists other addresses than"), "{replaced}");
    // Its objects are absent, or stay.
    let gone = host([(on(1), weighing(&[1]))]);
    assert_eq!(message(&gone, file(&[on(2)], Loss::Missing)), None);
    assert_eq!(message(&gone, file(&[on(1)], Loss::Missing)), None);
}

#[test]
fn a_missing_file_of_defaults_is_refused() {
    let wanted = spec([(on(1), weighing(&[5])), (on(2), weighing(&[1]))], Drain::NONE);
    let live = host([(on(1), weighing(&[1])), (on(2), weighing(&[1]))]);
    let record = PriorState::for_snapshot();
    let name = "defaults.yaml".to_owned();
    let contents = FileContents { name, defaults: true, ..FileContents::default() };
    let lost_files = [LostFile { contents, loss: Loss::Missing }];
    let plan = plan(Inputs { lost_files: &lost_files, ..Inputs::new(&wanted, &live, &record) });
    let (guard, message) = refused(&plan).expect("it is refused");
    assert_eq!(guard, Guard::MissingFile);
    assert!(message.contains("its `defaults` (1 service would be edited)"), "{message}");
}

#[test]
fn sync_daemons_and_sysctls_of_a_missing_file_are_not_reset() {
    let key: Box<str> = "net.ipv4.ip_forward".into();
    let wanted =
        Desired { sync: Some(BTreeMap::new()), ..spec([(on(1), weighing(&[1]))], Drain::NONE) };
    let live = Live {
        sync: [(SyncState::Master, daemon())].into(),
        sysctls: [(key.clone(), "1".into())].into(),
        ..host([(on(1), weighing(&[1]))])
    };
    let record =
        PriorState { sysctls: [(key.clone(), "0".into())].into(), ..PriorState::for_snapshot() };
    let contents = FileContents {
        name: "settings.yaml".to_owned(),
        sync: [SyncState::Master].into(),
        sysctls: [key].into(),
        ..FileContents::default()
    };
    let lost_files = [LostFile { contents, loss: Loss::Missing }];
    let plan = plan(Inputs { lost_files: &lost_files, ..Inputs::new(&wanted, &live, &record) });
    let (guard, message) = refused(&plan).expect("it is refused");
    assert_eq!(guard, Guard::MissingFile);
    let gone = "sysctl net.ipv4.ip_forward (restored to 0)";
    assert!(message.contains(gone) && message.contains("sync daemon master"), "{message}");
}
