//! Save and reset, on the real machine.

use std::os::unix::process::CommandExt;

use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{
    CreateContainerOptions, InspectContainerOptions, RemoveContainerOptionsBuilder,
};
use pouw_agent::engine::{Engine as _, EngineError, Owner, Scope, ScratchRequest, User};
use pouw_types::RentalId;

use crate::laboratory::{Laboratory, on_own_machine};

async fn foreign_container(lab: &Laboratory) -> String {
    let body = ContainerCreateBody {
        image: Some(lab.image.to_string()),
        cmd: Some(vec!["/bin/true".to_owned()]),
        ..ContainerCreateBody::default()
    };
    let made = lab.docker.create_container(None::<CreateContainerOptions>, body).await;
    made.expect("the user's own container").id
}

#[tokio::test]
async fn a_reset_removes_all_of_ours_and_nothing_else() {
    on_own_machine(|lab| async move {
        let saved = lab.engine.snapshot(Scope::Machine).await.expect("saved");
        let foreign = foreign_container(&lab).await;
        lab.start(&lab.workload("run", "sleep 600")).await;
        lab.engine.create(&lab.workload("gate", "true")).await.expect("created");
        let request =
            ScratchRequest { owner: lab.owner, size_bytes: 8 << 20, user: User::default() };
        let scratch = lab.engine.create_scratch(&request).await.expect("scratch");
        lab.engine.create_network(&lab.owner).await.expect("a network");
        let mut stray = std::process::Command::new("sleep");
        stray.arg("600").env("POUW_MACHINE", lab.owner.machine_label()).arg0("stray");
        let mut stray = stray.current_dir(&scratch.path).spawn().expect("a stray process");

        let busy = lab.engine.snapshot(Scope::Machine).await.expect("a snapshot");
        assert_ne!(busy.digest(), saved.digest());
        let kinds = [
            ("containers", busy.containers.len(), 2),
            ("networks", busy.networks.len(), 1),
            ("mounts", busy.mounts.len(), 1),
            ("loops", busy.loops.len(), 1),
            ("scratch files", busy.scratch_files.len(), 2),
        ];
        for (kind, found, expected) in kinds {
            assert_eq!(found, expected, "{kind}: {busy:?}");
        }
        assert!(busy.processes.len() >= 2, "{busy:?}");

        // A zombie would still be listed, as it should: someone must reap it. Here the test does.
        let reaper = tokio::task::spawn_blocking(move || stray.wait());
        lab.engine.reset_to(&saved).await.expect("reset");
        reaper.await.expect("joined").expect("the stray process ended");
        let after = lab.engine.snapshot(Scope::Machine).await.expect("a snapshot");
        assert_eq!(after.digest(), saved.digest());
        lab.engine.reset_to(&saved).await.expect("reset twice");

        let there = lab.docker.inspect_container(&foreign, None::<InspectContainerOptions>).await;
        let id = pouw_agent::engine::ContainerId::new(foreign.as_str());
        let refused = lab.engine.remove(&id).await;
        let options = RemoveContainerOptionsBuilder::default().force(true).build();
        lab.docker.remove_container(&foreign, Some(options)).await.expect("removed by the test");
        there.expect("the user's own container survives a reset");
        assert!(matches!(refused, Err(EngineError::Conflict { .. })), "{refused:?}");
    })
    .await;
}

#[tokio::test]
async fn resetting_one_rental_leaves_the_others_alone() {
    on_own_machine(|lab| async move {
        let other = Owner { rental: RentalId::new([9; 32].into()), ..lab.owner };
        let scope = Scope::Rental(other.rental);
        let saved = lab.engine.snapshot(scope).await.expect("saved");
        let kept = lab.start(&lab.workload("run", "sleep 600")).await;
        let mut workload = lab.workload("run", "sleep 600");
        workload.owner = other;
        let gone = lab.start(&workload).await;
        lab.engine.reset_to(&saved).await.expect("reset");
        lab.engine.inspect(&kept).await.expect("the other rental's container is there");
        let error = lab.engine.inspect(&gone).await.expect_err("removed");
        assert!(matches!(error, EngineError::NotFound { .. }), "{error}");
    })
    .await;
}

#[tokio::test]
async fn what_was_saved_and_is_gone_is_said() {
    on_own_machine(|lab| async move {
        let id = lab.engine.create(&lab.workload("run", "true")).await.expect("created").id;
        let saved = lab.engine.snapshot(Scope::Machine).await.expect("saved");
        lab.engine.remove(&id).await.expect("removed");
        match lab.engine.reset_to(&saved).await.expect_err("it can't be brought back") {
            EngineError::NotReset { left_over, gone } => {
                assert_eq!((left_over.len(), gone.len()), (0, 1));
                assert!(gone[0].contains(id.as_str()), "{gone:?}");
            }
            error => panic!("{error}"),
        }
    })
    .await;
}
