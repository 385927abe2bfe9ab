//! Tests the guard `no-server`.

use evenkeel_model::IgnoredField;

use super::*;

#[test]
fn a_service_that_stays_keeps_a_real_server_of_a_positive_weight() {
    let bare = |live: &[u32], desired: &[u32], drain| -> Option<String> {
        let wanted = spec([(on(1), weighing(desired))], drain);
        let plan = planned(&wanted, &host([(on(1), weighing(live))]));
        refused(&plan).map(|(guard, message)| {
            assert_eq!(guard, Guard::NoServer);
            message.to_owned()
        })
    };
    let message = |number| {
        Some(format!(
            "web/192.0.2.1:80/tcp would have no real server with a positive weight left ({number} \
             now) and refuse all clients; list one with a positive weight, or remove it from the \
             spec"
        ))
    };
    for drain in [Drain::NONE, Drain(30)] {
        assert_eq!(bare(&[1, 2], &[], drain), message(2), "deleted");
        assert_eq!(bare(&[1, 0], &[0, 0], drain), message(1), "set to 0");
        assert_eq!(bare(&[5, 0], &[0, 0, 0], drain), message(1), "and one added with weight 0");
        assert_eq!(bare(&[5, 0], &[0, 1], drain), None);
        assert_eq!(bare(&[5], &[0, 1], drain), None);
        assert_eq!(bare(&[0, 0], &[0], drain), None, "it had none before");
        assert_eq!(bare(&[0, 0], &[], drain), None, "it had none before");
    }
}

#[test]
fn ignored_weights_count_with_their_live_values() {
    let mut wanted = spec([(on(1), weighing(&[7]))], Drain::NONE);
    for named in wanted.services.values_mut() {
        named.ignore = [IgnoredField::Weight].into_iter().collect();
    }
    // The second one is removed, and a health checker has set the first to 0.
    let plan = planned(&wanted, &host([(on(1), weighing(&[0, 1]))]));
    assert_eq!(refused(&plan).map(|(guard, _)| guard), Some(Guard::NoServer));
    let plan = planned(&wanted, &host([(on(1), weighing(&[3, 1]))]));
    assert_eq!(refused(&plan), None);
}
