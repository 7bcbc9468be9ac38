//! `pouw chain blocks`, `lanes`, `share`, and the miner's part of `status`: what the node's HTTP API
//! tells, as tables.

use core::time::Duration;

use alloy_primitives::Address;
use pouw_types::Amount;
use serde_json::Value;

use crate::cli::LaneArg;
use crate::client::node::Node;
use crate::output::table;
use crate::session::Session;

const TIMEOUT: Duration = Duration::from_secs(10);

async fn answer(session: &Session, path: &str) -> anyhow::Result<Value> {
    let rpc = session.rpc()?;
    Ok(Node::new(rpc.url(), TIMEOUT).get(path).await?)
}

/// Lists blocks.
///
/// # Errors
/// What the node says.
pub(super) async fn blocks(
    session: &Session,
    lane: Option<LaneArg>,
    limit: u32,
    below: Option<u64>,
) -> anyhow::Result<()> {
    let mut path = format!("/v1/blocks?limit={limit}");
    if let Some(lane) = lane {
        path += &format!("&lane={}", lane.number());
    }
    if let Some(below) = below {
        path += &format!("&below={below}");
    }
    let answer = answer(session, &path).await?;
    session.output.data(&answer, || blocks_text(&answer));
    Ok(())
}

/// Shows each lane.
///
/// # Errors
/// What the node says.
pub(super) async fn lanes(session: &Session, window: u64) -> anyhow::Result<()> {
    let answer = answer(session, &format!("/v1/lanes?window={window}")).await?;
    session.output.data(&answer, || lanes_text(&answer));
    Ok(())
}

/// Shows a machine's part in the useful lanes.
///
/// # Errors
/// What the node says.
pub(super) async fn machine(session: &Session, machine: Address) -> anyhow::Result<()> {
    let answer = answer(session, &format!("/v1/machines/{machine}/lanes")).await?;
    session.output.data(&answer, || machine_text(&answer));
    Ok(())
}

/// Shows the shares over time.
///
/// # Errors
/// What the node says.
pub(super) async fn share(session: &Session, epochs: u64) -> anyhow::Result<()> {
    let answer = answer(session, &format!("/v1/shares?epochs={epochs}")).await?;
    session.output.data(&answer, || share_text(&answer));
    Ok(())
}

fn items<'a>(answer: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    answer.get(name).and_then(Value::as_array).into_iter().flatten()
}

fn text(value: &Value, name: &str) -> String {
    match value.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => "–".to_owned(),
        Some(other) => other.to_string(),
    }
}

fn number(value: &Value, name: &str) -> Option<u128> {
    match value.get(name)? {
        Value::String(text) => text.parse().ok(),
        other => other.as_u64().map(u128::from),
    }
}

/// Milliseconds as seconds.
fn seconds(value: &Value, name: &str) -> String {
    number(value, name)
        .map_or_else(|| "–".to_owned(), |ms| format!("{}.{} s", ms / 1_000, ms % 1_000 / 100))
}

/// 65,536ths as percent.
fn percent(units: u128) -> String {
    let tenths = units * 1_000 / 65_536;
    format!("{}.{} %", tenths / 10, tenths % 10)
}

fn share_of(value: &Value, name: &str) -> String {
    number(value, name).map_or_else(|| "–".to_owned(), percent)
}

/// A count with three digits and the prefix of its size.
fn scaled(count: Option<u128>, unit: &str) -> String {
    const PREFIXES: [&str; 7] = ["", "k", "M", "G", "T", "P", "E"];
    let Some(count) = count else { return "–".to_owned() };
    let (mut whole, mut tenth, mut prefix) = (count, 0, "");
    for next in PREFIXES.iter().skip(1) {
        if whole < 1_000 {
            break;
        }
        (whole, tenth, prefix) = (whole / 1_000, whole % 1_000 / 100, next);
    }
    if whole == 1 && prefix.is_empty() {
        format!("1 {}", unit.replacen("tickets", "ticket", 1))
    } else if prefix.is_empty() {
        format!("{whole} {unit}")
    } else {
        format!("{whole}.{tenth} {prefix}{unit}")
    }
}

const fn lane_name(lane: Option<u128>) -> &'static str {
    match lane {
        Some(0) => "hash",
        Some(1) => "matmul",
        Some(2) => "credit",
        _ => "?",
    }
}

fn blocks_text(answer: &Value) -> String {
    let row = |block: &Value| {
        let lane = number(block, "lane");
        let unit = match lane {
            Some(1) => "MAC",
            Some(2) => "atto-FLUX",
            _ => "tickets",
        };
        let product = block
            .get("product")
            .and_then(Value::as_array)
            .map(|sizes| sizes.iter().map(Value::to_string).collect::<Vec<_>>().join("×"));
        vec![
            text(block, "height"),
            lane_name(lane).to_owned(),
            seconds(block, "spacing_ms"),
            scaled(number(block, "difficulty"), unit),
            text(block, "minted"),
            text(block, "miner"),
            product.unwrap_or_else(|| match block.get("machine") {
                Some(Value::String(machine)) => machine.clone(),
                _ => String::new(),
            }),
        ]
    };
    let rows: Vec<_> = items(answer, "blocks").map(row).collect();
    if rows.is_empty() {
        return "no such block".to_owned();
    }
    table(
        &["height", "lane", "after", "difficulty", "minted", "miner", "product or machine"],
        &rows,
    )
}

/// Each lane in a line; also a part of the status.
pub(super) fn lanes_text(answer: &Value) -> String {
    let row = |lane: &Value| {
        let unit = text(lane, "unit");
        let closed = number(lane, "share").unwrap_or_default() == 0;
        let state = match (closed, lane.get("quiet") == Some(&Value::Bool(true))) {
            (true, _) => "closed",
            (false, true) => "quiet",
            (false, false) => "live",
        };
        vec![
            text(lane, "name"),
            share_of(lane, "share"),
            state.to_owned(),
            if closed { "–".to_owned() } else { scaled(number(lane, "difficulty"), &unit) },
            text(lane, "blocks"),
            seconds(lane, "spacing_ms"),
            seconds(lane, "expected_spacing_ms"),
            scaled(number(lane, "rate"), &format!("{unit}/s")),
        ]
    };
    let rows: Vec<_> = items(answer, "lanes").map(row).collect();
    let heading =
        ["lane", "share", "state", "difficulty", "blocks", "spacing", "expected", "network"];
    let blocks = text(answer, "window_blocks");
    let rewards = answer.get("rewards").filter(|rewards| rewards.is_object());
    format!(
        "{}\nof the last {blocks} blocks, {}{}",
        table(&heading, &rows),
        seconds(answer, "window_ms"),
        rewards.map(rewards_text).unwrap_or_default()
    )
}

/// How much of what useful lanes were promised somebody paid for.
fn rewards_text(rewards: &Value) -> String {
    let amount = |name: &str| text(rewards, name).parse::<Amount>().unwrap_or_default();
    let [at_once, vested, unvested] = ["at_once", "vested", "unvested"].map(amount);
    let rest = vested.checked_add(unvested).unwrap_or(Amount::MAX);
    let backed = vested.atto().saturating_mul(1_000).checked_div(rest.atto()).unwrap_or_default();
    format!(
        "\n\nmatmul, the last {} epochs: {at_once} FLUX minted at once, {vested} vested by paid work, \
         {unvested} not ({}.{} % of what receipts can back)\n\
         a receipt's work counts from {} FLUX for 2^40 multiplications on\n\
         credit, the last {} epochs: {} FLUX burned, {} minted; {} counts now",
        text(rewards, "epochs"),
        backed / 10,
        backed % 10,
        text(rewards, "floor_price"),
        text(rewards, "credit_epochs"),
        text(rewards, "burned_for_credit"),
        text(rewards, "minted_for_credit"),
        text(rewards, "credit"),
    )
}

fn machine_text(answer: &Value) -> String {
    let row = |one: &Value| {
        let parts = ["epoch", "reward", "minted", "work", "covered"];
        parts.map(|name| text(one, name)).to_vec()
    };
    let rows: Vec<_> = items(answer, "vesting").map(row).collect();
    let burned: Vec<_> = items(answer, "burned").filter_map(Value::as_str).collect();
    let vesting = if rows.is_empty() {
        "no reward of lane 1 waits for paid work".to_owned()
    } else {
        table(&["won in epoch", "reward, FLUX", "minted", "work, MAC", "paid for"], &rows)
    };
    format!(
        "machine   {}\nminer     {}\nlane key  {}\ncredit    {} of {} FLUX count in the next block\n\
         burned    {} (this epoch first)\n\n{vesting}",
        text(answer, "machine"),
        text(answer, "miner"),
        text(answer, "lane_key"),
        text(answer, "credit"),
        text(answer, "all_credit"),
        burned.join(", "),
    )
}

fn share_text(answer: &Value) -> String {
    let row = |epoch: &Value| {
        let none = Value::Null;
        let part = |name: &str| epoch.get(name).unwrap_or(&none);
        vec![
            text(epoch, "epoch"),
            text(epoch, "first_height"),
            share_of(part("shares"), "hash"),
            share_of(part("shares"), "matmul"),
            share_of(part("shares"), "credit"),
            share_of(part("target"), "matmul"),
            share_of(part("target"), "credit"),
            text(epoch, "burned_for_matmul"),
            text(epoch, "burned_for_credit"),
            text(epoch, "minted_for_credit"),
            reason(&text(epoch, "reason")).to_owned(),
        ]
    };
    let rows: Vec<_> = items(answer, "epochs").map(row).collect();
    let heading = [
        "epoch",
        "from",
        "hash",
        "matmul",
        "credit",
        "target: matmul",
        "credit",
        "burned: vesting",
        "credit",
        "minted: credit",
        "why",
    ];
    let steps: Vec<String> =
        items(answer, "steps").filter_map(Value::as_u64).map(|step| percent(step.into())).collect();
    format!(
        "{}\nburned: by rentals in the seven epochs that set the share (nine to three before it), whose \
         subsidies are {} FLUX;\na quarter of that burned gives all blocks to useful work; a share rises \
         and falls by at most {} an epoch",
        table(&heading, &rows),
        text(answer, "subsidies"),
        steps.join(" and "),
    )
}

fn reason(word: &str) -> &str {
    match word {
        "start" => "the first epoch: what the network starts with",
        "at-target" => "where the burned fees put it",
        "rising" => "on its way up, a step an epoch",
        "falling" => "on its way down, a step an epoch",
        "pruned" => "the state that says so is no longer kept",
        other => other,
    }
}

/// What this node's miner did, earned and took; nothing where it has none.
pub(super) fn mining_text(status: &Value) -> Option<String> {
    let mining = status.get("mining").filter(|mining| mining.is_object())?;
    let mut income = Amount::ZERO;
    let mut rows = Vec::new();
    for name in ["hash", "matmul", "credit"] {
        let Some(effort) = mining.get(name) else { continue };
        let earned = text(effort, "income").parse::<Amount>().unwrap_or_default();
        income = income.checked_add(earned).unwrap_or(Amount::MAX);
        let unit = text(effort, "unit");
        rows.push(vec![
            name.to_owned(),
            text(effort, "blocks"),
            seconds(effort, "busy_ms"),
            scaled(number(effort, "rate"), &format!("{unit}/s")),
            earned.to_string(),
        ]);
    }
    let power = mining.get("power").unwrap_or(&Value::Null);
    let power = match number(power, "milliwatt_hours") {
        Some(used) => energy(used, income),
        None => format!("not readable ({})", text(power, "unreadable")),
    };
    Some(format!(
        "mining ({}, for {}), since the node started\n{}\nenergy    {power}\n",
        text(mining, "mode"),
        text(mining, "payout"),
        table(&["lane", "blocks", "busy", "speed, one core", "minted, FLUX"], &rows),
    ))
}

/// Energy beside income; what the counter counts is said.
fn energy(milliwatt_hours: u128, income: Amount) -> String {
    let (whole, part) = (milliwatt_hours / 1_000, milliwatt_hours % 1_000);
    let each = income.atto().checked_div(milliwatt_hours).map(|atto| {
        let a_watt_hour = Amount::from_atto(atto.saturating_mul(1_000));
        format!(", {a_watt_hour} FLUX a Wh")
    });
    format!("{whole}.{part:03} Wh by all that ran on the processors{}", each.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_read_well() {
        for (count, expected) in [
            (0, "0 MAC"),
            (999, "999 MAC"),
            (1_000, "1.0 kMAC"),
            (68_719_476_736, "68.7 GMAC"),
            (u128::from(u64::MAX) * 1_000, "18446.7 EMAC"),
        ] {
            assert_eq!(scaled(Some(count), "MAC"), expected);
        }
        assert_eq!(scaled(None, "MAC"), "–");
        assert_eq!(percent(13_107), "19.9 %");
        assert_eq!(percent(65_536), "100.0 %");
    }

    #[test]
    fn one_is_no_plural() {
        assert_eq!(scaled(Some(1), "tickets/s"), "1 ticket/s");
        assert_eq!(scaled(Some(1_999), "tickets"), "1.9 ktickets");
        assert_eq!(scaled(Some(0), "tickets"), "0 tickets");
    }

    #[test]
    fn lanes_are_told_in_their_own_units() {
        let lane = |name: &str, share: u32, quiet: bool, difficulty: &str, unit: &str| {
            json!({"lane": 0, "name": name, "share": share, "difficulty": difficulty, "unit": unit,
                "quiet": quiet, "expected_spacing_ms": 2_500, "spacing_ms": null, "blocks": 3,
                "rate": "1500"})
        };
        let answer = json!({"window_blocks": 100, "window_ms": 200_000, "lanes": [
            lane("hash", 52_429, false, "16", "tickets"),
            lane("matmul", 13_107, true, "4294967296", "MAC"),
            lane("credit", 0, false, "0", "atto-FLUX"),
        ]});
        let text = lanes_text(&answer);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].contains("80.0 %") && lines[1].contains("16 tickets"), "{text}");
        assert!(lines[2].contains("quiet") && lines[2].contains("4.2 GMAC"), "{text}");
        assert!(lines[2].contains("1.5 kMAC/s") && lines[2].contains("2.5 s"), "{text}");
        assert!(lines[3].contains("closed"), "{text}");
        assert_eq!(lines[4], "of the last 100 blocks, 200.0 s");
    }

    #[test]
    fn what_receipts_backed_is_told() {
        let rewards = json!({"epochs": 31, "at_once": "4", "vested": "9", "unvested": "27",
            "floor_price": "0.000001", "credit_epochs": 10, "burned_for_credit": "250",
            "minted_for_credit": "5", "credit": "120"});
        let text = lanes_text(&json!({"window_blocks": 1, "window_ms": 2_000, "lanes": [],
            "rewards": rewards}));
        for part in [
            "the last 31 epochs: 4 FLUX minted at once, 9 vested by paid work, 27 not (25.0 % of",
            "counts from 0.000001 FLUX for 2^40",
            "250 FLUX burned, 5 minted; 120 counts now",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        let vesting = json!([{"epoch": 3, "reward": "36", "minted": "9", "work": "4000",
            "covered": "1000"}]);
        let machine = json!({"machine": "0x01", "miner": "0x02", "lane_key": "0x03", "credit": "1",
            "all_credit": "4", "burned": ["0", "1"], "vesting": vesting});
        let text = machine_text(&machine);
        assert!(text.contains("1 of 4 FLUX") && text.contains("0, 1 (this epoch first)"), "{text}");
        assert!(text.contains("36") && text.contains("4000"), "{text}");
    }

    #[test]
    fn income_is_told_beside_energy() {
        let effort =
            json!({"blocks": 2, "busy_ms": 1_500, "unit": "MAC", "rate": null, "income": "8"});
        let status = |power: Value| {
            json!({"mining": {"mode": "both", "payout": "0x00", "hash": effort, "matmul": effort,
                "power": power}})
        };
        let read = mining_text(&status(json!({"milliwatt_hours": 2_000, "unreadable": null})));
        assert!(read.unwrap().contains("2.000 Wh by all that ran on the processors, 8 FLUX a Wh"));
        let unread = json!({"milliwatt_hours": null, "unreadable": "no counters"});
        assert!(mining_text(&status(unread)).unwrap().contains("not readable (no counters)"));
        assert_eq!(mining_text(&json!({"mining": null})), None);
    }
}
