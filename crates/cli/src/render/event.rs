//! Events of use cases.

use evenkeel_engine::Notice;
use evenkeel_workflow::Event;
use serde_json::{Value, json};

pub(crate) fn event(event: &Event) -> Value {
    let kind = match event {
        Event::Notice(notice) => return self::notice(notice),
        Event::Unconfirmed(_) => "unconfirmed",
        Event::JournalDamaged(_) => "journal_damaged",
        Event::LastSpecUnavailable(_) => "last_spec_unavailable",
        Event::TextsUnavailable(_) => "texts_unavailable",
        Event::CheckNotMade(_) => "check_not_made",
        Event::SnapshotOfHeld { .. } => "snapshot_of_held",
        Event::SnapshotWithoutChecks => "snapshot_without_checks",
        Event::SnapshotOfRealServer => "snapshot_of_real_server",
        Event::SnapshotWithout { .. } => "snapshot_without",
    };
    json!({ "kind": kind, "message": event.to_string() })
}

fn notice(notice: &Notice) -> Value {
    let mut value = match notice {
        Notice::LostAtBoot { begun } => json!({ "kind": "lost_at_boot", "begun": begun }),
        Notice::LostWithNamespace { begun } => {
            json!({ "kind": "lost_with_namespace", "begun": begun })
        }
        Notice::RolledBack { begun, is_unfinished, is_complete } => json!({
            "kind": "rolled_back",
            "begun": begun,
            "unfinished": is_unfinished,
            "complete": is_complete,
        }),
        Notice::Message(_) => json!({ "kind": "message" }),
    };
    value["message"] = json!(notice.to_string());
    value
}
