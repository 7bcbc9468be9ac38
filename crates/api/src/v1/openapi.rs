//! The `OpenAPI` document, made of the list that the router is made of.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

/// One route, described.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Route {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) body: Option<fn() -> Value>,
    pub(crate) answer: fn() -> Value,
}

impl Route {
    pub(super) const fn get(
        path: &'static str,
        summary: &'static str,
        answer: fn() -> Value,
    ) -> Self {
        Self { method: "get", path, summary, body: None, answer }
    }

    pub(super) const fn post(
        path: &'static str,
        summary: &'static str,
        body: fn() -> Value,
        answer: fn() -> Value,
    ) -> Self {
        Self { method: "post", path, summary, body: Some(body), answer }
    }
}

/// The schema of a type of ours, without references.
pub(super) fn body<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

/// Some object.
pub(super) fn none() -> Value {
    json!({ "type": "object" })
}

fn operation(route: &Route) -> Value {
    let names = route
        .path
        .split('/')
        .filter_map(|part| part.strip_prefix('{').and_then(|part| part.strip_suffix('}')));
    let parameters: Vec<Value> = names
        .map(|name| {
            json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } })
        })
        .collect();
    let content = |schema: Value| json!({ "application/json": { "schema": schema } });
    let mut operation = json!({
        "summary": route.summary,
        "parameters": parameters,
        "responses": {
            "200": { "description": "The answer", "content": content((route.answer)()) },
            "default": {
                "description": "Why there is no answer",
                "content": content(json!({ "$ref": "#/components/schemas/Error" })),
            },
        },
    });
    if let (Some(schema), Some(fields)) = (route.body, operation.as_object_mut()) {
        let body = json!({ "required": true, "content": content(schema()) });
        fields.insert("requestBody".to_owned(), body);
    }
    operation
}

/// The document.
pub(super) fn document(routes: impl Iterator<Item = Route>) -> Value {
    let mut paths = Map::new();
    for route in routes {
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        if let Some(methods) = path.as_object_mut() {
            methods.insert(route.method.to_owned(), operation(&route));
        }
    }
    let text = json!({ "type": "string" });
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "pouw node",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Amounts are decimal FLUX strings, times Unix milliseconds or seconds \
                as their names say. Wallets use JSON-RPC at /rpc.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "paths": paths,
        "components": { "schemas": { "Error": {
            "type": "object",
            "required": ["error"],
            "properties": { "error": {
                "type": "object",
                "required": ["code", "message"],
                "properties": { "code": text, "message": text, "hint": text },
            } },
        } } },
    })
}
