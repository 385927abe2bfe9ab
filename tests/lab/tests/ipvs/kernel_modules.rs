//! Kernel modules: loaded when they are missing, and reported if that fails.
//!
//! A module can be unloaded once no namespace uses it; namespaces of earlier tests may still be
//! closing.

use std::error::Error as _;

use evenkeel_ipvs::Error;
use evenkeel_ipvs::modules::{self, ModuleError};
use evenkeel_lab_tests::modules::{is_loaded, unload, without_modprobe};

use super::*;

#[test]
fn a_missing_scheduler_is_loaded_beforehand_or_by_the_kernel() {
    let mut client = client();
    unload("ip_vs_fo");
    modules::load("ip_vs_fo").unwrap();
    assert!(is_loaded("ip_vs_fo"));
    modules::load("ip_vs_fo").unwrap();

    unload("ip_vs_fo");
    done(&mut client, [Command::NewService(service("192.0.2.1:80", protocol::TCP, "fo"))]);
    assert!(is_loaded("ip_vs_fo"));
}

#[test]
fn a_module_that_does_not_exist_fails_with_the_message_of_modprobe() {
    match modules::load("ip_vs_nosuch") {
        Err(ModuleError::Failed { module, words, .. }) => {
            assert_eq!(module, "ip_vs_nosuch");
            assert!(words.contains("ip_vs_nosuch not found"), "{words}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_kernel_without_ipvs_gets_it_loaded_or_the_error_says_so() {
    fresh_namespace();
    unload("ip_vs");
    Client::connect().unwrap();
    assert!(is_loaded("ip_vs"));

    unload("ip_vs");
    let outcome = without_modprobe(Client::connect);
    modules::load("ip_vs").unwrap();
    let error = outcome.unwrap_err();
    assert!(matches!(error, Error::ModuleMissing { source: Some(_) }), "{error:?}");
    assert_eq!(error.to_string(), "the kernel has no IPVS (module ip_vs is not loaded)");
    assert!(error.source().is_some());
}
