//! Both sides over a real Unix socket.
#![expect(clippy::unwrap_used, reason = "these are tests: a panic is the report")]

mod hosts;

use std::io::{Read, Write};
use std::num::NonZero;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::time::Instant;

use hosts::{Host, until, work};
use pouw_matmul::{Anchor, Committed, Engine, Lines, Right, Salts, Side};
use pouw_mining::{Answer, Client, FromHost, FromTask, Miner, Product, Weights, Work};

fn engine() -> Engine {
    Engine::new(NonZero::<usize>::MIN)
}

fn entries(seed: usize, count: usize) -> Vec<i8> {
    let entry = |place: usize| i8::try_from((place * 7919 + seed * 31) % 127).unwrap() - 63;
    (0..count).map(entry).collect()
}

/// Multiplies until it mines: on a machine that stands still for seconds, the budget of W-7 may ask for a
/// few plain products first.
fn mine(weights: &Weights, m: usize, a: &[i8], miner: &Miner) -> Product {
    let mut last = None;
    until("it mines", || {
        let product = weights.multiply(m, a.to_vec(), Some(miner), &engine()).unwrap();
        let mined = product.mined > 0;
        last = Some(product);
        mined
    });
    last.unwrap()
}

fn product(m: usize, k: usize, n: usize, a: &[i8], columns: &[i8]) -> Vec<i32> {
    let cell = |row: usize, column: usize| {
        let (row, column) = (&a[row * k..][..k], &columns[column * k..][..k]);
        row.iter().zip(column).map(|(x, y)| i32::from(*x) * i32::from(*y)).sum()
    };
    (0..m * n).map(|place| cell(place / n, place % n)).collect()
}

#[test]
fn w5_a_product_that_wins_reaches_the_host_verified_and_once() {
    let mut host = Host::start();
    host.say(Some(work(1, 0, 1 << 18)));
    let miner = Miner::new(&host.path);
    until("work arrives", || miner.work().is_some());
    let (m, k, n) = (32, 1024, 48);
    let columns = entries(2, k * n);
    let weights = Weights::new(k, n, columns.clone()).unwrap();
    let a = entries(1, m * k);
    let result = mine(&weights, m, &a, &miner);
    assert_eq!(result.values, product(m, k, n, &a, &columns));
    assert_eq!(result.mined, (m * k * n) as u128);
    let win = host.win();
    assert_eq!(win.work.id, 1);
    assert_eq!(win.work.check(&win.certificate), Ok(()));
    until("the answer arrives", || miner.counts().taken == 1);
    // The same work is not mined again, and the product stays right.
    let result = weights.multiply(m, a.clone(), Some(&miner), &engine()).unwrap();
    assert_eq!((result.values, result.mined), (product(m, k, n, &a, &columns), 0));
    assert_eq!(miner.counts().handed_in, 1);
}

#[test]
fn what_no_job_takes_is_multiplied_outside_it() {
    let host = Host::start();
    host.say(Some(work(1, 0, 1 << 120)));
    let miner = Miner::new(&host.path);
    until("work arrives", || miner.work().is_some());
    for (m, k, n) in
        [(16, 1024, 16), (17, 1024, 16), (16, 1030, 16), (16, 1024, 19), (37, 2100, 35)]
    {
        let (a, columns) = (entries(m, m * k), entries(n, n * k));
        let weights = Weights::new(k, n, columns.clone()).unwrap();
        let result = mine(&weights, m, &a, &miner);
        let mined = (m / 16 * 16) * (k / 1024 * 1024) * (n / 16 * 16);
        assert_eq!(result.mined, mined as u128, "{m} {k} {n}");
        assert!(result.values == product(m, k, n, &a, &columns), "{m} {k} {n}");
    }
    // Too few rows, or an entry outside int7: a plain product.
    for (m, change) in [(15, 0), (16, 100)] {
        let (mut a, columns) = (entries(m, m * 1024), entries(3, 16 * 1024));
        a[5] += change;
        let weights = Weights::new(1024, 16, columns.clone()).unwrap();
        let result = weights.multiply(m, a.clone(), Some(&miner), &engine()).unwrap();
        assert_eq!((result.values, result.mined), (product(m, 1024, 16, &a, &columns), 0));
    }
    let share = miner.share();
    assert!(0 < share.mined && share.mined < share.all, "{share:?}");
}

#[test]
fn w7_a_prepared_matrix_serves_its_anchor_s_window() {
    let host = Host::start();
    let miner = Miner::new(&host.path);
    let columns = entries(2, 1024 * 16);
    let weights = Weights::new(1024, 16, columns).unwrap();
    // The first work's parent is the second's grandparent, and none of the third's ancestors.
    for (id, parent, ancestors) in [(1, 30, 16), (2, 32, 16), (3, 99, 16)] {
        let mut work = work(id, parent, 1 << 18);
        work.ancestors = work.ancestors[..ancestors].to_vec();
        host.say(Some(work));
        until("the work arrives", || miner.work().is_some_and(|work| work.id == id));
        mine(&weights, 16, &entries(1, 16 * 1024), &miner);
        until("it is taken", || miner.counts().taken == id);
    }
}

#[test]
fn w8_what_proves_nothing_is_refused_and_ends_the_connection() {
    let host = Host::start();
    host.say(Some(work(1, 0, 1 << 18)));
    let mut client = Client::new(&host.path);
    until("work arrives", || client.poll(Instant::now()).is_some());
    // Nobody asked for number 9: too late, and no fault.
    client.hand_in(9, vec![1; 34_490], Instant::now());
    until("it is stale", || {
        client.poll(Instant::now());
        client.counts().stale == 1
    });
    for _ in 0..3 {
        client.hand_in(1, vec![1; 200], Instant::now());
    }
    until("it is cut off", || {
        client.poll(Instant::now());
        client.counts().lost == 1
    });
    // Another task is served as before.
    let mut other = Client::new(&host.path);
    until("work arrives", || other.poll(Instant::now()).is_some());
}

#[test]
fn w2_a_task_that_breaks_the_protocol_is_cut_off() {
    let host = Host::start();
    for bytes in [&u32::MAX.to_le_bytes()[..], &[0; 4], &[1, 0, 0, 0, 77], &[3, 0, 0, 0, 16, 1, 1]]
    {
        let mut stream = std::os::unix::net::UnixStream::connect(&host.path).unwrap();
        stream.set_read_timeout(Some(hosts::DEADLINE)).unwrap();
        stream.write_all(bytes).unwrap();
        let mut said = Vec::new();
        // The end comes, as the host hangs up; some systems say so by an error.
        let _ = stream.read_to_end(&mut said);
        assert!(said.len() <= 5, "idle at most: {said:?}");
    }
}

#[test]
fn w9_what_mined_is_told_and_counts_as_far_as_it_is_borne_out() {
    let host = Host::start();
    host.say(Some(work(1, 0, 1 << 40)));
    let miner = Miner::new(&host.path);
    until("work arrives", || miner.work().is_some());
    assert_eq!(*host.tally.connections().borrow(), 1);
    let weights = Weights::new(1024, 16, entries(2, 16 * 1024)).unwrap();
    let mut mined = 0;
    while mined < 3 {
        mine(&weights, 16, &entries(1, 16 * 1024), &miner);
        mined += 1;
    }
    // The first product is told at once, the others within a second.
    until("all is told", || {
        let _work = miner.work();
        host.tally.macs() == miner.share().mined
    });
    // Somebody who says that he did what nobody can: sixteen times D_1, and no more.
    let mut client = Client::new(&host.path);
    until("work arrives", || client.poll(Instant::now()).is_some());
    client.mined(u64::MAX, Instant::now());
    until("it is counted", || {
        client.poll(Instant::now());
        host.tally.macs() == 16 << 40
    });
    drop((client, miner));
    until("all are gone", || *host.tally.connections().borrow() == 0);
    assert_eq!(host.tally.macs(), 16 << 40);
}

#[test]
fn w9_reports_that_fall_or_flood_end_the_connection() {
    let said = |count: usize, macs: fn(u64) -> u64| -> Vec<u8> {
        (0..count as u64).flat_map(|number| FromTask::Mined(macs(number)).encode()).collect()
    };
    let host = Host::start();
    for bytes in [said(2, |number| 1 - number), said(10_000, |number| number)] {
        let mut stream = std::os::unix::net::UnixStream::connect(&host.path).unwrap();
        stream.set_read_timeout(Some(hosts::DEADLINE)).unwrap();
        // The host may hang up before it read all.
        let _ = stream.write_all(&bytes);
        let mut said = Vec::new();
        let _ = stream.read_to_end(&mut said);
        assert!(said.len() <= 5, "idle at most: {said:?}");
    }
}

#[test]
fn w6_idle_and_a_lost_host_end_mining_and_a_new_host_is_found() {
    let mut host = Host::start();
    host.say(Some(work(1, 0, 1 << 18)));
    let miner = Miner::new(&host.path);
    until("work arrives", || miner.work().is_some());
    host.say(None);
    until("it is over", || miner.work().is_none());
    host.say(Some(work(2, 1, 1 << 18)));
    until("work arrives again", || miner.work().is_some());
    host.stop();
    until("the host is missed", || miner.work().is_none() && !miner.is_connected());
    host.restart();
    host.say(Some(work(3, 2, 1 << 18)));
    until("the new host is found", || miner.work().is_some_and(|work| work.id == 3));
}

/// A host that says these bytes to everybody and then stays silent.
fn liar(bytes: Vec<u8>) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            // A client that hangs up in the middle is what this host deserves.
            let _ = stream.write_all(&bytes);
            open.push(stream);
        }
    });
    (folder, path)
}

#[test]
fn w2_a_host_that_breaks_the_protocol_is_hung_up_on() {
    let mut bad_work = FromHost::Work(work(1, 0, 1 << 18)).encode();
    bad_work[5] = 9;
    let from_task = FromTask::Win(1, vec![0; 100]).encode();
    for lie in [vec![0xff; 4], vec![0; 4], bad_work, from_task] {
        let (_folder, path) = liar(lie);
        let mut client = Client::new(&path);
        until("the lie is found", || {
            assert_eq!(client.poll(Instant::now()), None);
            client.counts().lost == 1
        });
    }
}

#[test]
fn w6_half_a_frame_keeps_nobody_waiting_and_work_gets_old() {
    let whole = FromHost::Work(work(1, 0, 1 << 18)).encode();
    let (_folder, path) = liar(whole[..100].to_vec());
    let mut client = Client::new(&path);
    until("it is connected", || {
        client.poll(Instant::now());
        client.is_connected()
    });
    assert_eq!(client.poll(Instant::now()), None);

    let (_folder, path) = liar(whole);
    let mut client = Client::new(&path);
    until("work arrives", || client.poll(Instant::now()).is_some());
    let later = Instant::now() + std::time::Duration::from_secs(91);
    assert_eq!(client.poll(later), None, "nobody said it again");
}

#[test]
fn w6_a_host_that_never_reads_costs_certificates_and_no_time() {
    let (_folder, path) = liar(FromHost::Work(work(1, 0, 1 << 18)).encode());
    let mut client = Client::new(&path);
    until("work arrives", || client.poll(Instant::now()).is_some());
    until("the pipe is full", || {
        client.hand_in(1, vec![0; 34_490], Instant::now());
        client.counts().dropped > 0
    });
    assert!(client.is_connected());
}

#[test]
fn w1_nobody_at_the_socket_is_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let miner = Miner::new(&folder.path().join("nothing"));
    assert_eq!(miner.work(), None);
    let weights = Weights::new(4, 1, vec![1, 2, 3, 4]).unwrap();
    let result = weights.multiply(1, vec![1, -1, 1, 1], Some(&miner), &engine()).unwrap();
    assert_eq!(result.values, [6]);
    // A path that no socket can have.
    let long = folder.path().join("x".repeat(200));
    assert_eq!(Miner::new(&long).work(), None);
}

#[test]
fn sizes_that_do_not_fit_are_refused_by_name() {
    let error = Weights::new(4, 2, vec![0; 7]).unwrap_err().to_string();
    assert_eq!(error, "7 entries, 4 times 2 expected");
    let weights = Weights::new(4, 2, vec![0; 8]).unwrap();
    let error = weights.multiply(3, vec![0; 11], None, &engine()).unwrap_err().to_string();
    assert_eq!(error, "11 entries, 3 times 4 expected");
}

#[test]
fn w5_a_second_win_of_one_work_is_stale() {
    let mut host = Host::start();
    let first = Arc::new(work(1, 0, 1 << 18));
    host.say(Some((*first).clone()));
    let miners = [Miner::new(&host.path), Miner::new(&host.path)];
    let weights = Weights::new(1024, 16, entries(2, 1024 * 16)).unwrap();
    for miner in &miners {
        until("work arrives", || miner.work().is_some());
    }
    for (miner, expected) in miners.iter().zip([Answer::Taken, Answer::Stale]) {
        mine(&weights, 16, &entries(1, 16 * 1024), miner);
        until("it is answered", || {
            let counts = miner.counts();
            counts.taken == u64::from(expected == Answer::Taken)
                && counts.stale == u64::from(expected == Answer::Stale)
        });
    }
    assert_eq!(host.win().work, first);
}

#[test]
fn w5_work_of_an_older_template_counts_until_the_parent_changes() {
    let mut host = Host::start();
    let old = work(1, 0, 1 << 18);
    let mut newer = work(2, 0, 1 << 18);
    newer.core = pouw_matmul::Core([8; 32]);
    let (certificate, mut client) = (winning(&old), Client::new(&host.path));
    for (work, answer) in
        [(&old, None), (&newer, Some(Answer::Taken)), (&work(3, 1, 1 << 18), None)]
    {
        host.say(Some(work.clone()));
        until("the work arrives", || {
            client.poll(Instant::now()).is_some_and(|heard| *heard == *work)
        });
        if answer.is_some() {
            client.hand_in(1, certificate.clone(), Instant::now());
            until("it is answered", || {
                client.poll(Instant::now());
                client.counts().taken == 1
            });
            assert_eq!(*host.win().work, old);
        }
    }
    // With a new parent the second work is over, though nobody won it.
    client.hand_in(2, certificate, Instant::now());
    until("it is answered", || {
        client.poll(Instant::now());
        client.counts().stale == 1
    });
}

/// A certificate for work that every ticket wins.
fn winning(work: &Work) -> Vec<u8> {
    let lines = |seed| Lines::new(16, 1024, entries(seed, 16 * 1024)).unwrap();
    let [a, b] = [(Side::Left, 1), (Side::Right, 2)].map(|(side, seed)| {
        Committed::new(side, lines(seed), Salts::new([seed.try_into().unwrap(); 32]), &engine())
    });
    let right = Right::new(Arc::new(b), work.ancestors[0], &engine());
    let job = right.mine(&a, work.core, work.difficulty, &engine()).unwrap();
    right.certificate(&a, 1, &job.winners[0]).unwrap().encode()
}

#[test]
fn w7_a_host_that_changes_its_mind_is_not_followed() {
    let host = Host::start();
    let miner = Miner::new(&host.path);
    let weights = Weights::new(4096, 1024, entries(2, 4096 * 1024)).unwrap();
    // Each parent is new, so each work asks for B to be prepared again: soon the budget is spent.
    let mut parent = 0_u64;
    until("a product is left plain", || {
        parent += 1;
        let mut work = work(parent, 0, 1 << 120);
        work.ancestors = vec![Anchor(std::array::from_fn(|place| parent.to_le_bytes()[place % 8]))];
        host.say(Some(work));
        until("the work arrives", || miner.work().is_some_and(|work| work.id == parent));
        let product = weights.multiply(16, entries(1, 16 * 4096), Some(&miner), &engine()).unwrap();
        product.mined == 0
    });
}

#[test]
fn w1_a_seventeenth_connection_is_closed_at_once() {
    let host = Host::start();
    host.say(Some(work(1, 0, 1 << 18)));
    let mut clients: Vec<_> = (0..16).map(|_| Client::new(&host.path)).collect();
    for client in &mut clients {
        until("work arrives", || client.poll(Instant::now()).is_some());
    }
    let mut late = Client::new(&host.path);
    until("it is closed", || {
        assert_eq!(late.poll(Instant::now()), None);
        late.counts().lost > 0
    });
    // A place that gets free is given again.
    clients.pop();
    until("it is let in", || late.poll(Instant::now()).is_some());
}
