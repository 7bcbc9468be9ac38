//! The offers board.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::response::IntoResponse;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use pouw_types::Offer;
use serde_json::{Value, json};

use super::{Problem, read};
use crate::board::BoardError;
use crate::server::{Node, now_s};

impl From<BoardError> for Problem {
    fn from(error: BoardError) -> Self {
        let (status, code, hint) = match error {
            BoardError::Offer(_) => (StatusCode::BAD_REQUEST, "offer", None),
            BoardError::Chain { .. } => {
                (StatusCode::BAD_REQUEST, "chain", Some("announce it on its own network"))
            }
            BoardError::Expired { .. } | BoardError::FromTheFuture { .. } => {
                (StatusCode::BAD_REQUEST, "time", Some("compare the clocks of both machines"))
            }
            BoardError::Seq { .. } => (StatusCode::CONFLICT, "seq", None),
            BoardError::TooLong { .. } => {
                (StatusCode::BAD_REQUEST, "offer", Some("list fewer cards and scores"))
            }
            BoardError::Full(_) => {
                (StatusCode::SERVICE_UNAVAILABLE, "full", Some("announce it at another node"))
            }
        };
        Self { status, code, message: error.to_string(), hint: hint.map(str::to_owned) }
    }
}

pub(super) async fn list(State(node): State<Arc<Node>>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], node.board.list_json(now_s()))
}

pub(super) async fn post(
    State(node): State<Arc<Node>>,
    request: Request,
) -> Result<Json<Value>, Problem> {
    let offer: Offer = read(&node, request).await?;
    let hash = offer.hash();
    node.board.post(offer, now_s())?;
    Ok(Json(json!({ "hash": hash })))
}

/// The schema of an offer; a test compares it with the type.
pub(super) fn schema() -> Value {
    let text = json!({ "type": "string" });
    let number = json!({ "type": "integer", "minimum": 0 });
    let object = |properties: Value| {
        let required: Vec<_> =
            properties.as_object().map(|p| p.keys().cloned().collect()).unwrap_or_default();
        json!({
            "type": "object", "additionalProperties": false,
            "properties": properties, "required": required,
        })
    };
    let list = |items: Value| json!({ "type": "array", "maxItems": 256, "items": items });
    object(json!({
        "version": { "const": 1 },
        "machine": text, "chain_id": number, "seq": number,
        "issued_at": number, "available_until": number, "endpoint": text, "units": number,
        "unit": object(json!({
            "cpu_millis": number, "memory_bytes": number, "disk_bytes": number, "gpus": number,
        })),
        "arch": text,
        "gpus": list(object(json!({ "model": text, "memory_bytes": number, "count": number }))),
        "isolation": list(json!({ "enum": ["runc", "gvisor"] })),
        "egress": { "type": "boolean" },
        "floor": object(json!({
            "active_second": text, "storage_gib_second": text, "traffic_byte": text,
        })),
        "scores": list(object(json!({
            "use_case": { "enum": ["ai", "rendering", "gaming", "general"] }, "value": number,
        }))),
        "signature": text,
    }))
}

pub(super) fn list_schema() -> Value {
    json!({
        "type": "object",
        "required": ["offers"],
        "properties": { "offers": { "type": "array", "items": schema() } },
    })
}

pub(super) fn posted_schema() -> Value {
    json!({
        "type": "object",
        "required": ["hash"],
        "properties": { "hash": { "type": "string" } },
    })
}

#[cfg(test)]
mod tests {
    use pouw_types::{Floor, Gpu, Isolation, MachineId, Resources, Score, UseCase};

    use super::*;

    #[test]
    fn the_schema_names_each_field_of_an_offer() {
        let offer = Offer {
            version: 1,
            machine: MachineId::default(),
            chain_id: 1,
            seq: 1,
            issued_at: 1,
            available_until: 2,
            endpoint: "http://127.0.0.1:7101".to_owned(),
            units: 1,
            unit: Resources::default(),
            arch: "amd64".to_owned(),
            gpus: vec![Gpu { model: "x".to_owned(), memory_bytes: 1, count: 1 }],
            isolation: vec![Isolation::Runc, Isolation::Gvisor],
            egress: true,
            floor: Floor::default(),
            scores: vec![Score { use_case: UseCase::Ai, value: 1_000 }],
            signature: vec![1].into(),
        };
        compare("", &serde_json::to_value(offer).unwrap(), &schema());
    }

    fn compare(path: &str, value: &Value, schema: &Value) {
        match value {
            Value::Object(fields) => {
                let described = schema["properties"].as_object().unwrap();
                let names: Vec<_> = fields.keys().collect();
                assert_eq!(names, described.keys().collect::<Vec<_>>(), "{path}");
                for (name, field) in fields {
                    compare(&format!("{path}/{name}"), field, &described[name]);
                }
            }
            Value::Array(items) => {
                for item in items {
                    compare(&format!("{path}[]"), item, &schema["items"]);
                }
            }
            Value::String(_) if schema.get("enum").is_some() => {
                assert!(schema["enum"].as_array().unwrap().contains(value), "{path}");
            }
            Value::String(_) => assert_eq!(schema["type"], "string", "{path}"),
            Value::Number(_) | Value::Bool(_) | Value::Null => {
                assert!(schema.is_object(), "{path}");
            }
        }
    }
}
