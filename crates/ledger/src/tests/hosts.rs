use alloy_primitives::{Address, B256};
use pouw_types::contracts::{HOSTS, IHosts};

use super::world::{BOND, FLUX, Scene, UNITS, party, refused};

#[test]
fn a_registered_machine_is_found_by_its_key_and_its_operator() {
    let scene = Scene::new();
    let address = scene.machine.address();
    let machine = scene.world.machine(address);
    assert_eq!(machine.operator, scene.operator);
    assert_eq!((machine.units, machine.openUnits), (UNITS, 0));
    assert_eq!((machine.bond, machine.lockedBond), (BOND, 0));
    let found = scene.world.view(HOSTS, &IHosts::machinesOfCall { operator: scene.operator });
    assert_eq!(found, vec![address]);
    assert_eq!(scene.world.totals().bonds.atto(), BOND);
}

#[test]
fn h_1_a_machine_is_registered_once_and_by_its_own_consent() {
    let mut scene = Scene::new();
    let again = scene.register(&party(101), scene.operator, scene.payout);
    refused(again, "H-1", "is registered");
    let call = IHosts::registerCall {
        machine: party(111).address(),
        units: 1,
        payout: scene.payout,
        miner: scene.payout,
        offerHash: B256::ZERO,
        signature: vec![1; 65].into(),
    };
    refused(scene.world.send_hosts(scene.operator, 0, &call), "H-1", "didn't sign");
    let nobody = IHosts::addBondCall { machine: party(112).address() };
    refused(scene.world.send_hosts(scene.operator, 1, &nobody), "H-1", "isn't registered");
}

#[test]
fn h_2_only_the_operator_changes_a_machine() {
    let mut scene = Scene::new();
    let machine = scene.machine.address();
    let payout = scene.stranger;
    let call = IHosts::setPayoutCall { machine, payout };
    refused(scene.world.send_hosts(scene.stranger, 0, &call), "H-2", "only its operator");
    scene.world.send_hosts(scene.operator, 0, &call).unwrap();
    assert_eq!(scene.world.machine(machine).payout, payout);
    let zero = IHosts::setPayoutCall { machine, payout: Address::ZERO };
    refused(scene.world.send_hosts(scene.operator, 0, &zero), "H-2", "is zero");
    let moved = IHosts::setOperatorCall { machine, operator: scene.stranger };
    scene.world.send_hosts(scene.operator, 0, &moved).unwrap();
    let of = |operator| scene.world.view(HOSTS, &IHosts::machinesOfCall { operator });
    assert_eq!(of(scene.operator), Vec::<Address>::new());
    assert_eq!(of(scene.stranger), vec![machine]);
}

#[test]
fn h_3_units_cover_what_is_rented() {
    let mut scene = Scene::new();
    scene.open();
    let machine = scene.machine.address();
    let set = |units| IHosts::setUnitsCall { machine, units };
    refused(scene.world.send_hosts(scene.operator, 0, &set(0)), "H-3", "at least 1");
    let mut quote = scene.quote();
    quote.units = 2;
    scene.open_with(&quote, FLUX).unwrap();
    refused(scene.world.send_hosts(scene.operator, 0, &set(2)), "H-3", "3 are rented");
    scene.world.send_hosts(scene.operator, 0, &set(3)).unwrap();
    assert_eq!(scene.world.machine(machine).units, 3);
}

#[test]
fn h_4_a_locked_bond_stays() {
    let mut scene = Scene::new();
    scene.open();
    let machine = scene.machine.address();
    let draw = |amount| IHosts::withdrawBondCall { machine, amount };
    let call = draw(BOND - FLUX + 1);
    refused(scene.world.send_hosts(scene.operator, 0, &call), "H-4", "free bond of 9 FLUX");
    let before = scene.world.balance(scene.operator);
    scene.world.send_hosts(scene.operator, 0, &draw(BOND - FLUX)).unwrap();
    assert_eq!(scene.world.balance(scene.operator), before + BOND - FLUX);
    scene.world.send_hosts(scene.stranger, FLUX, &IHosts::addBondCall { machine }).unwrap();
    assert_eq!(scene.world.machine(machine).bond, 2 * FLUX);
}

#[test]
fn h_5_a_retired_machine_opens_nothing_and_its_rentals_go_on() {
    let mut scene = Scene::new();
    let rental = scene.open();
    let machine = scene.machine.address();
    let retire = IHosts::retireCall { machine };
    scene.world.send_hosts(scene.operator, 0, &retire).unwrap();
    refused(scene.world.send_hosts(scene.operator, 0, &retire), "H-5", "already");
    let mut quote = scene.quote();
    quote.nonce = 2;
    refused(scene.open_with(&quote, FLUX), "H-5", "is retired");
    scene.run(rental, 100);
    assert_eq!(scene.world.rental(rental).best.activeS, 100);
}

#[test]
fn g_3_calls_of_a_system_contract_are_its_functions_and_nothing_else() {
    use alloy_sol_types::SolCall;
    let mut scene = Scene::new();
    let by = scene.stranger;
    for data in [&b""[..], &[1, 2, 3], &[9; 4], &[0; 100]] {
        refused(scene.world.send_raw(by, HOSTS, 0, data), "G-3", "no function");
    }
    let long = vec![0; 9_000];
    refused(scene.world.send_raw(by, HOSTS, 0, &long), "G-3", "at most 8192");
    let view = IHosts::machineOfCall { machine: by }.abi_encode();
    refused(scene.world.send_raw(by, HOSTS, 0, &view), "G-3", "eth_call");
    let machine = scene.machine.address();
    let unpaid = IHosts::retireCall { machine }.abi_encode();
    let operator = scene.operator;
    refused(scene.world.send_raw(operator, HOSTS, 1, &unpaid), "G-3", "takes no value");
    let rich = IHosts::addBondCall { machine }.abi_encode();
    refused(scene.world.send_raw(by, HOSTS, u128::MAX, &rich), "G-1", "less than the value");
}
