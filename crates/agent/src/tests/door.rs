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
    let stopped = door.stop(id, &StopRequest::default()).await.unwrap();
    assert_eq!(stopped.end, Some(End::ClientStop));
    let events = door.events(id, 0).await.unwrap();
    let first = events.take(1).collect::<Vec<_>>().await.remove(0).unwrap();
    let mut again = Box::pin(door.events(id, first.id).await.unwrap());
    assert!(again.next().await.unwrap().unwrap().id > first.id, "resumable by id");
    let missing = door.manifest(id).await;
    assert_eq!(refusal(missing), "no-manifest");
}
