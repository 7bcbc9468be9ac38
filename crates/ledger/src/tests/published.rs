//! What `docs/spec/ledger.md` publishes is what the code does.

use alloy_sol_types::SolCall;
use pouw_types::contracts::{HOSTS, IHosts, IRentals, RENTALS};

use crate::native_gas;

const SPECIFICATION: &str = include_str!("../../../../docs/spec/ledger.md");
const TESTS: &[&str] = &[
    include_str!("branches.rs"),
    include_str!("closing.rs"),
    include_str!("encoding.rs"),
    include_str!("hosts.rs"),
    include_str!("opening.rs"),
    include_str!("play.rs"),
    include_str!("transactions.rs"),
    include_str!("usage.rs"),
];

#[test]
fn the_gas_schedule_is_the_published_one() {
    let check = |to, selector: [u8; 4], name: &str| {
        let row = SPECIFICATION.lines().find(|line| line.starts_with('|') && line.contains(name));
        let row = row.unwrap_or_else(|| panic!("no row for {name}"));
        let gas = row.rsplit('|').nth(1).unwrap().trim().replace(',', "");
        assert_eq!(native_gas(to, &selector).to_string(), gas, "{name}");
    };
    check(HOSTS, IHosts::registerCall::SELECTOR, "Hosts.register");
    check(HOSTS, IHosts::setOperatorCall::SELECTOR, "Hosts.setOperator");
    check(HOSTS, IHosts::addBondCall::SELECTOR, "Hosts.addBond");
    check(HOSTS, IHosts::retireCall::SELECTOR, "Hosts.setUnits");
    check(RENTALS, IRentals::openCall::SELECTOR, "Rentals.open");
    check(RENTALS, IRentals::finalizeCall::SELECTOR, "Rentals.finalize");
    check(RENTALS, IRentals::answerWithReceiptCall::SELECTOR, "Rentals.answerWithReceipt");
    check(RENTALS, IRentals::settleCall::SELECTOR, "Rentals.settle");
    check(RENTALS, IRentals::setSignerCall::SELECTOR, "Rentals.setSigner");
    check(RENTALS, IRentals::stopCall::SELECTOR, "Rentals.stop");
    check(RENTALS, IRentals::closeCall::SELECTOR, "Rentals.close");
    check(RENTALS, IRentals::callCall::SELECTOR, "Rentals.topUp");
    check(RENTALS, IRentals::extendCall::SELECTOR, "Rentals.extend");
    check(RENTALS, IRentals::claimCall::SELECTOR, "Rentals.ready");
    check(RENTALS, [0xff; 4], "anything else");
}

#[test]
fn every_test_that_the_specification_names_exists_and_every_rule_has_one() {
    let mut named = 0;
    for name in SPECIFICATION.split('`').skip(1).step_by(2) {
        let is_test = name.matches('_').count() >= 4 && !name.contains(['.', ' ']);
        if is_test {
            let function = format!("fn {name}(");
            assert!(TESTS.iter().any(|file| file.contains(&function)), "no test {name}");
            named += 1;
        }
    }
    assert!(named > 60, "{named} tests are named");
    for rule in 1..=16 {
        assert!(SPECIFICATION.contains(&format!("`r_{rule}_")), "R-{rule} names no test");
        assert!(SPECIFICATION.contains(&format!("**R-{rule} ")), "R-{rule} is missing");
    }
}
