//! A-70 … A-72: tasks that mine, over their real socket.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use pouw_matmul::{Committed, Engine, Lines, Right, Salts, Side};
use pouw_mining::{Anchor, Client, Core, Difficulty, SOCKET_VARIABLE, Work};
use pouw_spec::Task;
use pouw_types::RentalId;

use super::world::{World, task};
use crate::engine::{Access, Workload};
use crate::step::Step;

const EASY: u128 = 1 << 18;

fn mineable() -> Task {
    task("mineable: opening\nlimits:\n  time: 1h\n")
}

fn work(id: u64) -> Work {
    let ancestors = vec![Anchor([9; 32])];
    Work { id, core: Core([7; 32]), difficulty: Difficulty::new(EASY).unwrap(), ancestors }
}

/// A certificate for work that every ticket wins.
fn winning(work: &Work) -> Vec<u8> {
    let engine = Engine::new(std::num::NonZero::<usize>::MIN);
    let entry = |place: usize| i8::try_from(place * 7919 % 127).unwrap() - 63;
    let lines = || Lines::new(16, 1024, (0..16 * 1024).map(entry).collect()).unwrap();
    let [a, b] = [Side::Left, Side::Right]
        .map(|side| Committed::new(side, lines(), Salts::new([1; 32]), &engine));
    let right = Right::new(Arc::new(b), work.ancestors[0], &engine);
    let job = right.mine(&a, work.core, work.difficulty, &engine).unwrap();
    right.certificate(&a, 1, &job.winners[0]).unwrap().encode()
}

impl World {
    fn run_workload(&self) -> Workload {
        let all = self.engine.containers();
        all.into_iter().find(|(_, workload, _)| workload.step.as_str() == "run").unwrap().1
    }

    /// Where the socket that the task's container sees lies on the machine.
    fn socket(&self) -> PathBuf {
        let workload = self.run_workload();
        let inside = PathBuf::from(&workload.env.0[SOCKET_VARIABLE]);
        let target = inside.parent().unwrap().to_str().unwrap();
        let mount = workload.mounts.iter().find(|mount| mount.target == target).unwrap();
        assert_eq!(mount.access, Access::Read, "a task changes nothing there");
        mount.source.join(inside.file_name().unwrap())
    }

    async fn begin(&self, task: &Task) -> RentalId {
        let id = self.open(task, None, |_| ());
        self.hand_over(id, task).await;
        self.running(id).await;
        id
    }

    /// Talks as the task does until something holds.
    async fn talk(
        &self,
        client: &mut Client,
        what: &str,
        holds: impl Fn(&Client, Option<u64>) -> bool,
    ) {
        let deadline = Instant::now() + std::time::Duration::from_secs(60);
        loop {
            let work = client.poll(Instant::now()).map(|work| work.id);
            if holds(client, work) {
                return;
            }
            assert!(Instant::now() < deadline, "never: {what}");
            crate::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test]
async fn a_task_whose_client_agreed_wins_blocks_and_its_receipts_say_what_mined() {
    let world = World::real().await;
    let id = world.begin(&mineable()).await;
    assert_eq!(*world.lane_one.asked.lock().unwrap(), 0, "nobody listens, nobody asks");
    *world.lane_one.work.lock().unwrap() = Some(work(5));
    let mut client = Client::new(&world.socket());
    world.talk(&mut client, "work arrives", |_, work| work == Some(5)).await;
    client.hand_in(5, winning(&work(5)), Instant::now());
    world.talk(&mut client, "it is taken", |client, _| client.counts().taken == 1).await;
    world.wait("the node has it", || world.lane_one.won.lock().unwrap().len() == 1).await;
    assert_eq!(*world.lane_one.won.lock().unwrap(), [(5, winning(&work(5)))]);
    // What it says it mined counts as far as what it won bears it out.
    client.mined(1 << 60, Instant::now());
    let expected = 16 * EASY + 2 * EASY;
    world
        .talk(&mut client, "it is counted", |_, _| {
            u128::from(world.status(id).meter.work_macs) == expected
        })
        .await;
    world.wait("a second is paid", || world.status(id).meter.active_s >= 1).await;
    world.finish(0, false);
    world.done(id).await;
    let best = world.rental(id).best;
    assert!(best.isFinal);
    assert_eq!(best.workMacs, expected);
    let quote = world.chain.lock().rentals[&id].0.clone();
    assert_eq!(quote.earns, 1, "vesting");
}

#[tokio::test]
async fn a_killed_agent_serves_the_socket_again_and_forgets_no_work() {
    let mut world = World::real().await;
    let id = world.begin(&mineable()).await;
    *world.lane_one.work.lock().unwrap() = Some(work(1));
    let mut client = Client::new(&world.socket());
    world.talk(&mut client, "work arrives", |_, work| work == Some(1)).await;
    client.mined(1 << 20, Instant::now());
    let counted = |macs: u64| move |world: &World| world.status(id).meter.work_macs == macs;
    world.talk(&mut client, "it is counted", |_, _| counted(1 << 20)(&world)).await;
    // What is in a co-signed receipt is in the journal.
    let signed = |world: &World| world.status(id).signed.is_some_and(|signed| signed.work_macs > 0);
    world.talk(&mut client, "it is signed", |_, _| signed(&world)).await;
    world.kill().await;
    world.start().await;
    *world.lane_one.work.lock().unwrap() = Some(work(2));
    world.talk(&mut client, "the new agent is found", |_, work| work == Some(2)).await;
    client.mined(1 << 10, Instant::now());
    let all = (1 << 20) + (1 << 10);
    world.talk(&mut client, "both are counted", |_, _| counted(all)(&world)).await;
    world.finish(0, false);
    world.done(id).await;
    assert_eq!(world.rental(id).best.workMacs, u128::from(all));
}

#[tokio::test]
async fn without_consent_there_is_no_socket_and_no_work() {
    let world = World::real().await;
    let id = world.begin(&task("limits:\n  time: 1h\n")).await;
    let workload = world.run_workload();
    assert!(!workload.env.0.contains_key(SOCKET_VARIABLE));
    assert_eq!(workload.mounts.len(), 1, "its own folder");
    world.finish(0, false);
    world.done(id).await;
    assert_eq!(world.rental(id).best.workMacs, 0);
    assert_eq!(world.chain.lock().rentals[&id].0.earns, 0, "credit");
    assert_eq!(*world.lane_one.asked.lock().unwrap(), 0);
    assert_eq!(world.status(id).step, Step::Done);
}
