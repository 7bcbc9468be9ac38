//! The door over loopback HTTP, in real time.

use std::collections::BTreeMap;

use alloy_signer_local::PrivateKeySigner;
use futures::StreamExt;

use super::world::{World, task};
use crate::door::{Client, ClientError, QuoteRequest, Secret, StopRequest, TaskRequest};
use crate::step::End;

const HOUR: &str = "limits:\n  time: 1h\n";

fn client(world: &World, key: &PrivateKeySigner) -> Client {
    Client::new(&format!("http://{}", world.agent().address()), Some(key.clone())).unwrap()
}

fn refusal<T: std::fmt::Debug>(result: Result<T, ClientError>) -> String {
    match result.unwrap_err() {
        ClientError::Refused { body, .. } => body.code,
        other => panic!("{other}"),
    }
}

async fn ready(world: &World) {
    let agent = world.agent();
    world.wait("the agent is ready", || agent.health().ready).await;
}

#[tokio::test]
async fn quotes_list_every_factor_and_carry_the_machines_signature() {
    let world = World::real().await;
    ready(&world).await;
    let door = client(&world, &world.client);
    let offer = door.offer().await.unwrap();
    let request =
        |task| QuoteRequest { task, client: world.client.address(), units: 1, continues: None };
    let reply = door.quote(&request(task(HOUR))).await.unwrap();
    let chain = pouw_types::Network::devnet().chain_id;
    assert_eq!(reply.quote.verify(chain), Ok(offer.machine));
    assert_eq!(reply.quote.rental(chain), reply.rental);
    assert!(reply.quote.value.factors.iter().all(|factor| factor.ppm == 1_000_000));
    assert!(reply.quote.value.expires - reply.quote.value.issuedAt <= 300);
    let too_cheap = "limits:\n  time: 1h\n  cost: 0.000000000000001\n";
    assert_eq!(refusal(door.quote(&request(task(too_cheap))).await), "too-dear");
    let mut named = task(HOUR);
    named.image = "hello".parse().unwrap();
    assert_eq!(refusal(door.quote(&request(named)).await), "image-not-fixed");
    let units = QuoteRequest { units: 3, ..request(task(HOUR)) };
    assert_eq!(refusal(door.quote(&units).await), "busy");
}

#[tokio::test]
async fn only_the_client_reaches_a_rental_and_only_with_its_own_task() {
    let world = World::real().await;
    ready(&world).await;
    let task = task(HOUR);
    let id = world.open(&task, None, |_| ());
    let door = client(&world, &world.client);
    world.wait("the agent sees it", || !world.agent().rentals().is_empty()).await;
    let stranger = client(&world, &PrivateKeySigner::random());
    assert_eq!(refusal(stranger.status(id).await), "not-the-client");
    let good = TaskRequest {
        task,
        slots: world.slots(&super::world::task(HOUR)),
        secrets: BTreeMap::new(),
        resume: None,
    };
    assert_eq!(refusal(stranger.put_task(id, &good).await), "not-the-client");
    let other = TaskRequest { task: super::world::task("limits:\n  time: 2h\n"), ..good.clone() };
    assert_eq!(refusal(door.put_task(id, &other).await), "other-task");
    let secrets = BTreeMap::from([("key".to_owned(), Secret::new("s3cret".to_owned()))]);
    let secret = TaskRequest { secrets, ..good.clone() };
    assert_eq!(refusal(door.put_task(id, &secret).await), "other-secrets");
    assert!(!format!("{secret:?}").contains("s3cret"), "nothing shows slots or secrets");
    assert!(door.put_task(id, &good).await.unwrap().has_task);
    assert!(door.put_task(id, &good).await.unwrap().has_task, "the same again is harmless");
    let mut fresh = world.slots(&good.task);
    fresh.expires_at_s = 2_000_000_000;
    assert_eq!(refusal(stranger.renew(id, &fresh).await), "not-the-client");
    assert_eq!(door.renew(id, &fresh).await.unwrap().slots_until, Some(2_000_000_000));
    fresh.log.name = "elsewhere.txt".to_owned();
    assert_eq!(refusal(door.renew(id, &fresh).await), "bad-slots");
    let stopped = door.stop(id, &StopRequest::default()).await.unwrap();
    assert_eq!(stopped.end, Some(End::ClientStop));
    let events = door.events(id, 0).await.unwrap();
    let first = events.take(1).collect::<Vec<_>>().await.remove(0).unwrap();
    let mut again = Box::pin(door.events(id, first.id).await.unwrap());
    assert!(again.next().await.unwrap().unwrap().id > first.id, "resumable by id");
    let missing = door.manifest(id).await;
    assert_eq!(refusal(missing), "no-manifest");
}

/// what could not be brought out is given to its client, and to nobody else.
#[tokio::test]
async fn results_that_stay_on_the_host_are_given_to_their_client_alone() {
    let world = World::real().await;
    ready(&world).await;
    let task = task(&format!("outputs: [{{path: out.txt}}]\n{HOUR}"));
    let id = world.open(&task, None, |_| ());
    world.hand_over(id, &task).await;
    world.running(id).await;
    world.write_part(id, "out.txt");
    let expired = crate::mover::MoveError::Permanent("Request has expired".to_owned());
    *world.store.1.lock().unwrap() = Some(("http", expired));
    world.finish(0, false);
    let door = client(&world, &world.client);
    world.wait("results stay", || !world.status(id).left.is_empty()).await;
    let status = door.status(id).await.unwrap();
    let index = status.left.iter().position(|name| name == "archive/0001.tar").unwrap();
    let manifest = door.manifest(id).await.unwrap();
    let manifest = pouw_data::Manifest::from_json(&manifest).unwrap();
    let entry = manifest.entries().iter().find(|entry| entry.path == "archive/0001.tar").unwrap();
    let mut got = Vec::new();
    door.result(id, index, &mut got, entry.size_bytes).await.unwrap();
    assert_eq!(blake3::hash(&got).as_bytes(), &entry.blake3.0);
    let short = door.result(id, index, &mut Vec::new(), entry.size_bytes - 1).await;
    assert!(short.is_err(), "no more is taken than the manifest says");
    assert_eq!(refusal(door.result(id, 99, &mut Vec::new(), 1).await), "no-result");
    let stranger = client(&world, &PrivateKeySigner::random());
    let foreign = stranger.result(id, index, &mut Vec::new(), entry.size_bytes).await;
    assert_eq!(refusal(foreign), "not-the-client");
}
