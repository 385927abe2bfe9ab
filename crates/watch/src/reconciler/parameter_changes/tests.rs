use std::collections::BTreeMap;

use evenkeel_source::{HostParameters, HostRequest};
use evenkeel_spec::{Parameter, Parameters};

use super::*;

/// The readings of a parameter `${port}` with that value.
fn port(value: Option<&str>) -> ParameterReadings {
    let set = value.map(|value| ("port".to_owned(), value.to_owned()));
    let parameters = HostParameters::new(set.into_iter().collect(), None, HostRequest::AnyHost);
    parameters.value(Parameter::Set("port")).expect("it is readable");
    parameters.used()
}

#[track_caller]
fn assert_status(
    changes: &ParameterChanges,
    value: Option<&str>,
    previous: Option<&str>,
    since: u64,
) {
    let owned = |text: Option<&str>| text.map(ToOwned::to_owned);
    let expected = ParameterStatus {
        name: "port".to_owned(),
        value: owned(value),
        error: None,
        previous: owned(previous),
        since,
    };
    assert_eq!(changes.status(), [expected]);
}

#[test]
fn what_never_changed_is_not_shown() {
    let mut changes = ParameterChanges::default();
    changes.update(&port(Some("80")), 1);
    changes.update(&port(Some("80")), 2);
    assert_eq!(changes.status(), []);
}

#[test]
fn a_change_is_shown_with_both_values_until_it_is_undone() {
    let mut changes = ParameterChanges::default();
    changes.remember(&BTreeMap::from([("port".into(), "80".into())]), 1);
    changes.update(&port(Some("81")), 2);
    assert_status(&changes, Some("81"), Some("80"), 2);
    changes.update(&port(None), 3);
    assert_status(&changes, None, Some("81"), 3);
    changes.update(&port(None), 4);
    assert_status(&changes, None, Some("81"), 3);
    changes.update(&port(Some("82")), 5);
    assert_status(&changes, Some("82"), Some("81"), 5);
    changes.update(&port(None), 6);
    changes.update(&port(Some("82")), 7);
    assert_eq!(changes.status(), [], "it is as before");
}

#[test]
fn a_parameter_that_never_had_a_value_is_shown_until_the_spec_has_it_no_more() {
    let mut changes = ParameterChanges::default();
    changes.update(&port(None), 1);
    assert_status(&changes, None, None, 1);
    changes.retain(&BTreeMap::new());
    assert_eq!(changes.status(), []);
}

#[test]
fn what_the_roles_of_the_host_depend_on_is_no_parameter() {
    let host = |address: &str| {
        let binding = evenkeel_model::Binding::host(address.parse().expect("an address"), "eth0");
        let addresses = [(binding, evenkeel_model::Owner::Other)].into();
        let host = HostRequest::Snapshot { role: None, addresses };
        let parameters = HostParameters::new(BTreeMap::new(), None, host);
        let real_servers = ["192.0.2.1", "192.0.2.2"].map(|it| it.parse().expect("an address"));
        let real_servers = real_servers.into();
        parameters
            .host(&evenkeel_model::Cluster { real_servers, ..Default::default() })
            .expect("it is readable");
        parameters.used()
    };
    let mut changes = ParameterChanges::default();
    assert_ne!(host("192.0.2.1"), host("192.0.2.2"));
    changes.update(&host("192.0.2.1"), 1);
    changes.update(&host("192.0.2.2"), 2);
    assert_eq!(changes.status(), []);
}

#[test]
fn a_value_of_the_environment_is_not_shown() {
    let mut changes = ParameterChanges::default();
    changes.remember(&BTreeMap::from([("env:PATH".into(), "hunter2".into())]), 1);
    let parameters = HostParameters::new(BTreeMap::new(), None, HostRequest::AnyHost);
    parameters.value(Parameter::Env("PATH")).expect("it is readable");
    changes.update(&parameters.used(), 2);
    let hidden = Some("(hidden)".to_owned());
    let expected = ParameterStatus {
        name: "env:PATH".to_owned(),
        value: hidden.clone(),
        error: None,
        previous: hidden,
        since: 2,
    };
    assert_eq!(changes.status(), [expected]);
}
