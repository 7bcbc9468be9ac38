//! Random plays: several clients and hosts in any order of valid and invalid calls, with stalls,
//! silence, lies, successors, extensions, keeps and abandoned branches. Every invariant is checked
//! after every step, by arithmetic of its own, and broken variants of the rules must be noticed.

mod checks;

use std::cell::RefCell;
use std::collections::BTreeSet;

use alloy_primitives::{Address, B256};
use alloy_signer_local::PrivateKeySigner;
use pouw_types::contracts::IRentals::{self, Notice, Phase, Reason};
use pouw_types::contracts::{Caps, Extension, IHosts, Quote, Receipt, Stop, Term};
use pouw_types::signing::Signable;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use self::checks::{Played, check};
use super::world::{FLUX, RATE, Scene, party, sign};
use crate::flaw::{self, Flaw};

const REASONS: [Reason; 13] = [
    Reason::None,
    Reason::ClientStop,
    Reason::Completed,
    Reason::Limit,
    Reason::OutOfFunds,
    Reason::EndBy,
    Reason::ClientSilent,
    Reason::Preempted,
    Reason::Repriced,
    Reason::GateFailed,
    Reason::NotStarted,
    Reason::HostStop,
    Reason::HostFault,
];
const MOST_RENTALS: usize = 6;

/// One move: what, and two numbers that it reads as it needs them.
type Step = (u8, u64, u64);

#[derive(Clone, Debug)]
pub(super) struct Play {
    scene: Scene,
    machines: [PrivateKeySigner; 2],
    rentals: Vec<Played>,
    /// A branch that a reorg may go back to.
    fork: Option<Box<Self>>,
}

impl Play {
    fn new() -> Self {
        let mut scene = Scene::new();
        let machines = [party(101), party(111)];
        scene.register(&machines[1], party(4).address(), party(113).address()).unwrap();
        Self { scene, machines, rentals: Vec::new(), fork: None }
    }

    fn key_of(&self, machine: Address) -> PrivateKeySigner {
        let found = self.machines.iter().find(|key| key.address() == machine);
        found.cloned().unwrap_or_else(|| party(101))
    }

    fn clients() -> [Address; 2] {
        [party(2).address(), party(5).address()]
    }

    fn anybody(&self, pick: u64) -> Address {
        let all = [party(1), party(2), party(4), party(5), party(3)];
        all[usize::try_from(pick % 5).unwrap()].address()
    }

    /// The rental's own party for a pick, mostly; sometimes anybody.
    fn somebody(&self, played: &Played, pick: u64) -> Address {
        let operator = self.scene.world.machine(played.quote.machine).operator;
        match pick % 8 {
            0..=3 => operator,
            4..=6 => played.quote.client,
            _ => self.anybody(pick / 8),
        }
    }

    fn pick(&self, number: u64) -> Option<usize> {
        let count = u64::try_from(self.rentals.len()).unwrap();
        (count > 0).then(|| usize::try_from(number % count).unwrap())
    }

    fn step(&mut self, (what, a, b): Step) {
        match what % 20 {
            0 | 1 => self.pass(a, b),
            2 => self.open(a, b),
            3..=6 => self.use_and_sign(a, b),
            7 => self.settle_stored(a, b),
            8 => self.top_up_or_extend(a, b),
            9 => self.name_signer(a, b),
            10 => self.call(a, b),
            11 => self.answer(a, b),
            12 => self.notice_or_ready(a, b),
            13 | 14 => self.close(a, b),
            15 => self.claim(a, b),
            16 | 17 => self.finalize(a),
            18 => self.machine(a, b),
            _ => self.reorg(a),
        }
    }

    fn pass(&mut self, a: u64, b: u64) {
        let (blocks, seconds) = match a % 10 {
            // A stall, a burst of blocks, a day.
            0 => (1, 3_600 * (1 + b % 11)),
            1 => (20 + b % 20, 1 + b % 10),
            2 => (100, 86_400),
            _ => (1 + b % 40, 1 + b % 100),
        };
        self.scene.world.pass(blocks, seconds);
    }

    fn open(&mut self, a: u64, b: u64) {
        if self.rentals.len() >= MOST_RENTALS {
            return;
        }
        let quote = self.quote(a, b);
        let machine = self.key_of(quote.machine);
        let terms = crate::split::Terms::new(&quote, &self.scene.world.network.rental);
        let minimum = crate::split::minimum_deposit(&terms).atto();
        let deposit = match b % 7 {
            0 => minimum.saturating_sub(1),
            1 => minimum,
            _ => minimum * u128::from(1 + b % 50),
        };
        self.scene.signer = party(102);
        if let Ok(id) = self.scene.open_signed_by(&machine, &quote, deposit) {
            self.rentals.push(Played::new(id, quote));
        }
    }

    fn quote(&self, a: u64, b: u64) -> Quote {
        let mut quote = self.scene.quote();
        quote.nonce = a;
        quote.client = Self::clients()[usize::from(a.is_multiple_of(3))];
        quote.machine = self.machines[usize::from(b.is_multiple_of(3))].address();
        quote.units = u32::try_from(a % 3).unwrap();
        quote.model = u8::try_from(b % 3).unwrap();
        quote.rates.activeSecond = RATE * (1 + u128::from(a % 3));
        quote.refundWindowS = [0, 60, 600, 3_600][usize::try_from(a % 4).unwrap()];
        quote.bond = [0, 1_000_000, FLUX, 3 * FLUX][usize::try_from(b % 4).unwrap()];
        quote.caps.activeS = [50, 700, 40_000][usize::try_from(a / 7 % 3).unwrap()];
        quote.endBy = quote.startBy + 3_600 * (1 + b % 30);
        if a.is_multiple_of(5) {
            quote.model = 0;
            quote.term = Term { lengthS: 1_000 * (1 + b % 4), activeSecond: RATE / 2 };
        }
        if a.is_multiple_of(2) {
            // A rental that fails is continued at a higher price, so that its forfeit has a use.
            let world = &self.scene.world;
            let failed = self.rentals.iter().rev().find(|played| {
                let shown = world.rental(played.id);
                let fault = matches!(shown.reason, Reason::HostStop | Reason::HostFault);
                shown.phase == Phase::Closing && shown.successor.is_zero() && fault
            });
            let any = self.pick(b).map(|index| &self.rentals[index]);
            if let Some(before) = failed.or(any) {
                quote.continues = before.id;
                quote.client = before.quote.client;
                quote.rates.activeSecond = before.quote.rates.activeSecond + u128::from(b % 9);
            }
        }
        quote
    }

    /// Uses the machine for a while, signs a receipt, and settles it now or later.
    fn use_and_sign(&mut self, a: u64, b: u64) {
        let Some(index) = self.pick(a) else { return };
        let played = &self.rentals[index];
        let shown = self.scene.world.rental(played.id);
        let last = played.signed.last().cloned().unwrap_or_default();
        let elapsed = self.scene.world.now_s.saturating_sub(played.quote.issuedAt);
        let room = elapsed.min(shown.caps.activeS).saturating_sub(last.activeS);
        let active_s = last.activeS + room.min(b % 4_000);
        let stored = u128::from(elapsed) * u128::from(shown.caps.storageGib);
        let mut receipt = Receipt {
            rental: played.id,
            seq: last.seq + 1,
            at: self.scene.world.now_s,
            activeS: active_s,
            storageGibS: last.storageGibS.max(stored / u128::from(1 + b % 3)),
            trafficB: (last.trafficB + b % 1_000).min(shown.caps.trafficB),
            doneS: last.doneS.max(active_s.saturating_sub(b % 2_000)),
            workMacs: 0,
            manifestRoot: B256::ZERO,
            isFinal: b.is_multiple_of(37),
        };
        // A lie now and then; both may sign it, the ledger has to see it.
        match b % 29 {
            1 => receipt.activeS = elapsed + 1,
            2 => receipt.activeS = last.activeS.saturating_sub(1),
            3 => receipt.doneS = receipt.activeS + 1,
            4 => receipt.at += 61,
            5 => receipt.trafficB = last.trafficB.saturating_sub(1),
            6 => receipt.seq = last.seq,
            _ if !last.isFinal => self.rentals[index].signed.push(receipt.clone()),
            _ => {}
        }
        if !a.is_multiple_of(3) {
            self.settle(index, &receipt, a.is_multiple_of(11), false);
        }
    }

    fn settle_stored(&mut self, a: u64, b: u64) {
        let Some(index) = self.pick(a) else { return };
        let signed = &self.rentals[index].signed;
        if signed.is_empty() {
            return;
        }
        let count = u64::try_from(signed.len()).unwrap();
        let receipt = signed[usize::try_from(b % count).unwrap()].clone();
        self.settle(index, &receipt, false, false);
    }

    fn settle(&mut self, index: usize, receipt: &Receipt, forged: bool, answers: bool) {
        let machine = self.key_of(self.rentals[index].quote.machine);
        let digest = receipt.digest(self.scene.chain_id());
        let signer = if forged { party(99) } else { party(self.rentals[index].signer) };
        let (machine_signature, signer_signature) = (sign(&machine, digest), sign(&signer, digest));
        let by = self.scene.stranger;
        let _ = if answers {
            let call = IRentals::answerWithReceiptCall {
                receipt: receipt.clone(),
                machineSignature: machine_signature,
                signerSignature: signer_signature,
            };
            self.scene.world.send(by, 0, &call)
        } else {
            let call = IRentals::settleCall {
                receipt: receipt.clone(),
                machineSignature: machine_signature,
                signerSignature: signer_signature,
            };
            self.scene.world.send(by, 0, &call)
        };
    }

    fn top_up_or_extend(&mut self, a: u64, b: u64) {
        let Some(index) = self.pick(a) else { return };
        let played = &self.rentals[index];
        let id = played.id;
        if b.is_multiple_of(2) {
            let by = self.anybody(b / 2);
            let value = u128::from(b % 1_000_000_007);
            let _ = self.scene.world.send(by, value, &IRentals::topUpCall { rental: id });
            return;
        }
        let shown = self.scene.world.rental(id);
        let caps = Caps { activeS: shown.caps.activeS + b % 1_000, ..shown.caps };
        let extension = Extension {
            rental: id,
            seq: shown.extensions + 1 + u64::from(b.is_multiple_of(9)),
            endBy: shown.times.endBy + b % 10_000,
            caps,
            expires: self.scene.world.now_s + 300,
        };
        let key = self.key_of(played.quote.machine);
        let signature = sign(&key, extension.digest(self.scene.chain_id()));
        let by = self.somebody(played, b);
        let _ = self.scene.world.send(by, 0, &IRentals::extendCall { extension, signature });
    }

    fn name_signer(&mut self, a: u64, b: u64) {
        let Some(index) = self.pick(a) else { return };
        let number = [102, 104, 105][usize::try_from(b % 3).unwrap()];
        let played = &self.rentals[index];
        let call = IRentals::setSignerCall { rental: played.id, signer: party(number).address() };
        if self.scene.world.send(self.somebody(played, b), 0, &call).is_ok() {
            self.rentals[index].signer = number;
        }
    }

    fn call(&mut self, a: u64, b: u64) {
        let Some(index) = self.pick(a) else { return };
        let played = &self.rentals[index];
        let by = self.somebody(played, b);
        let value = if by == played.quote.client { 120 * 3 * RATE } else { 0 };
        let _ = self.scene.world.send(by, value, &IRentals::callCall { rental: played.id });
        if b.is_multiple_of(2) {
            self.scene.world.pass(16, 1 + b % 60);
        }
    }

    fn answer(&mut self, a: u64, b: u64) {
        let Some(index) = self.pick(a) else { return };
        if b.is_multiple_of(2) {
            let played = &self.rentals[index];
            let by = self.somebody(played, b / 2);
            let _ = self.scene.world.send(by, 0, &IRentals::answerCall { rental: played.id });
        } else if let Some(receipt) = self.rentals[index].signed.last().cloned() {
            self.settle(index, &receipt, false, true);
        }
    }

    fn notice_or_ready(&mut self, a: u64, b: u64) {
        let Some(index) = self.pick(a) else { return };
        let played = &self.rentals[index];
        let (rental, by) = (played.id, self.somebody(played, b));
        let notice = [Notice::None, Notice::Preempt, Notice::Reprice];
        let _ = match b / 8 % 4 {
            0 => self.scene.world.send(by, 0, &IRentals::readyCall { rental }),
            kind => {
                // What fits the quote, mostly.
                let fitting = if played.quote.model == 2 { 1 } else { 2 };
                let index = if kind == 1 { b / 32 % 3 } else { fitting };
                let notice = notice[usize::try_from(index).unwrap()];
                self.scene.world.send(by, 0, &IRentals::giveNoticeCall { rental, notice })
            }
        };
    }

    fn close(&mut self, a: u64, b: u64) {
        let Some(index) = self.pick(a) else { return };
        let played = &self.rentals[index];
        let (rental, by) = (played.id, self.somebody(played, b));
        let before = self.scene.world.rental(rental);
        if b.is_multiple_of(13) {
            let order = Stop { rental, at: self.scene.world.now_s, keepS: b % 5_000 };
            let digest = order.digest(self.scene.chain_id());
            let signature = sign(&party(played.signer), digest);
            let call = IRentals::stopCall { order, signerSignature: signature };
            let _ = self.scene.world.send(by, 0, &call);
            return;
        }
        // First what is hard to come by, else what the number says.
        let waiting = [
            (!before.call.by.is_zero(), Reason::HostFault),
            (!before.hostCall.by.is_zero(), Reason::ClientSilent),
            (before.notice == Notice::Preempt, Reason::Preempted),
            (before.notice == Notice::Reprice, Reason::Repriced),
            (before.money.escrow < before.money.deposited / 4, Reason::OutOfFunds),
        ];
        let likely = waiting.into_iter().find(|(waits, _)| *waits && !b.is_multiple_of(3));
        if before.notice != Notice::None && b % 5 < 2 {
            self.scene.world.pass(1, 86_400);
        }
        let reason = likely.map_or(REASONS[usize::try_from(a / 7 % 13).unwrap()], |(_, it)| it);
        let keep_s = if b.is_multiple_of(4) { b % 20_000 } else { 0 };
        let call = IRentals::closeCall { rental, reason, keepS: keep_s };
        if self.scene.world.send(by, 0, &call).is_ok() {
            let (world, played) = (&self.scene.world, &mut self.rentals[index]);
            played.closed_after = Some((reason, before, world.now_s, world.height));
            if a.is_multiple_of(2) {
                self.open(a, b);
            }
        }
    }

    fn claim(&mut self, a: u64, b: u64) {
        let Some(index) = self.pick(a) else { return };
        let played = &self.rentals[index];
        let shown = self.scene.world.rental(played.id);
        let operator = self.scene.world.machine(played.quote.machine).operator;
        let limit = [0, 29, 60, 120, 100_000][usize::try_from(b % 5).unwrap()];
        let call = IRentals::claimCall {
            rental: played.id,
            activeS: shown.best.activeS + limit,
            storageGibS: shown.best.storageGibS + u128::from(b % 200_000),
        };
        let _ = self.scene.world.send(operator, 0, &call);
    }

    fn finalize(&mut self, a: u64) {
        let Some(index) = self.pick(a) else { return };
        let rental = self.rentals[index].id;
        if a.is_multiple_of(3) && self.scene.world.rental(rental).phase == Phase::Closing {
            self.scene.closing_window();
        }
        let by = self.scene.stranger;
        let _ = self.scene.world.send(by, 0, &IRentals::finalizeCall { rental });
    }

    fn machine(&mut self, a: u64, b: u64) {
        let machine = self.machines[usize::try_from(a % 2).unwrap()].address();
        let by = self.anybody(a / 2);
        let world = &mut self.scene.world;
        let _ = match b % 4 {
            0 => world.send_hosts(by, 0, &IHosts::withdrawBondCall { machine, amount: b.into() }),
            1 => world.send_hosts(by, b.into(), &IHosts::addBondCall { machine }),
            2 => {
                let units = u32::try_from(1 + b % 6).unwrap();
                world.send_hosts(by, 0, &IHosts::setUnitsCall { machine, units })
            }
            _ if b % 40 == 3 => world.send_hosts(by, 0, &IHosts::retireCall { machine }),
            _ => Ok(Vec::new()),
        };
    }

    /// Remembers a branch, or goes back to one; time never goes back.
    fn reorg(&mut self, a: u64) {
        if a.is_multiple_of(2) {
            let copy = Self { fork: None, ..self.clone() };
            self.fork = Some(Box::new(copy));
        } else if let Some(mut fork) = self.fork.take() {
            fork.scene.world.now_s = self.scene.world.now_s;
            fork.scene.world.height = self.scene.world.height.max(fork.scene.world.height);
            *self = *fork;
        }
    }

    /// I-9, R-16: a stranger closes everything.
    fn close_all(&mut self) -> Result<(), TestCaseError> {
        let by = self.scene.stranger;
        for index in 0..self.rentals.len() {
            let rental = self.rentals[index].id;
            let shown = self.scene.world.rental(rental);
            if shown.phase == Phase::Open {
                let end = shown.times.endBy.max(self.scene.world.now_s);
                self.scene.world.now_s = end;
                let closed = self.scene.close(by, rental, Reason::EndBy);
                prop_assert!(closed.is_ok(), "I-9: {closed:?}");
                check(self)?;
            }
            if self.scene.world.rental(rental).phase != Phase::Closed {
                let end = self.scene.world.rental(rental).times.closingEndsAt;
                self.scene.world.now_s = end.max(self.scene.world.now_s);
                self.scene.closing_window();
                let call = IRentals::finalizeCall { rental };
                let closed = self.scene.world.send(by, 0, &call);
                prop_assert!(closed.is_ok(), "I-9: {closed:?}");
                check(self)?;
            }
        }
        Ok(())
    }
}

fn run(steps: &[Step]) -> Result<Play, TestCaseError> {
    let mut play = Play::new();
    for step in steps {
        play.step(*step);
        check(&mut play)?;
    }
    play.close_all()?;
    Ok(play)
}

/// What a play came across.
fn seen(play: &Play) -> Vec<String> {
    let mut seen = Vec::new();
    for played in &play.rentals {
        let rental = play.scene.world.rental(played.id);
        seen.push(format!("{:?}", rental.reason));
        for (holds, what) in [
            (rental.claim.made, "a claim"),
            (rental.keepS > 0, "a keep"),
            (rental.extensions > 0, "an extension"),
            (rental.money.successorUsed > 0, "a used fund"),
            (rental.money.forfeited > 0, "a forfeit"),
            (rental.best.isFinal, "a final receipt"),
            (rental.money.paid > 0 && rental.money.refunded == 0, "an empty escrow"),
            (played.quote.term.lengthS > 0 && rental.money.paid > 0, "a term"),
        ] {
            if holds {
                seen.push(what.to_owned());
            }
        }
    }
    seen
}

fn runner(cases: u32, shrinks: u32) -> TestRunner {
    let config =
        Config { cases, failure_persistence: None, max_shrink_iters: shrinks, ..Config::default() };
    let seed = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    TestRunner::new_with_rng(config, seed)
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // Opening first, so that few plays are empty.
    proptest::collection::vec((any::<u8>(), any::<u64>(), any::<u64>()), 40..120).prop_map(
        |mut steps| {
            for step in steps.iter_mut().take(3) {
                step.0 = 2;
            }
            steps
        },
    )
}

#[test]
fn every_invariant_holds_in_any_order_of_valid_and_invalid_calls() {
    let met: RefCell<BTreeSet<String>> = RefCell::default();
    let result = runner(200, 300).run(&steps(), |steps| {
        met.borrow_mut().extend(seen(&run(&steps)?));
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    // A play that never gets anywhere would show nothing.
    let met = met.into_inner();
    let reasons = REASONS[1..].iter().map(|reason| format!("{reason:?}"));
    let events = [
        "a claim",
        "a keep",
        "an extension",
        "a used fund",
        "a forfeit",
        "a final receipt",
        "an empty escrow",
        "a term",
    ];
    for what in reasons.chain(events.map(str::to_owned)) {
        assert!(met.contains(&what), "no play met {what}: {met:?}");
    }
}

#[test]
fn broken_variants_of_the_rules_are_noticed() {
    // Each with what notices it: the invariant, or the rule where a play checks it directly.
    let flaws: [(Flaw, &[&str]); 10] = [
        (Flaw::AheadUnlimited, &["I-5", "I-4"]),
        (Flaw::FeesPerSettlement, &["R-7"]),
        (Flaw::SettlePaysAll, &["I-4"]),
        (Flaw::MetersFall, &["I-3"]),
        (Flaw::WindowInBlocksOnly, &["R-9"]),
        (Flaw::ClaimOnFault, &["R-11", "I-4"]),
        (Flaw::ForfeitAboveBond, &["I-7"]),
        (Flaw::ClosedReopens, &["R-12"]),
        (Flaw::UnitsKept, &["I-8"]),
        (Flaw::FundVanishes, &["I-1"]),
    ];
    for (flaw, rules) in flaws {
        let result =
            flaw::with(Some(flaw), || runner(400, 0).run(&steps(), |steps| run(&steps).map(drop)));
        match result {
            Err(TestError::Fail(reason, _)) => {
                let named = rules.iter().any(|rule| reason.message().contains(rule));
                assert!(named, "{flaw:?} noticed by {reason}");
            }
            other => panic!("{flaw:?} wasn't noticed: {other:?}"),
        }
    }
}
