use std::collections::{BTreeSet, HashMap};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{json, Value};

use crate::context::to_json;
use crate::protocol::{ClaimedStep, Registration};
use crate::{Context, Error};

type Running = Pin<Box<dyn Future<Output = Result<Value, Error>> + Send>>;
pub(crate) type Call = Arc<dyn Fn(Context) -> Running + Send + Sync>;

/// A function that a worker can call for a step.
///
/// - `async fn(Context) -> Result<T, Error>`;
/// - `fn(&Value) -> Result<T, String>`: gets the task's context, in a thread; its error is permanent;
/// - `fn(&Value, &HashMap<String, Value>) -> Result<T, String>`: gets the results of earlier steps too.
///
/// `T` is anything that serde serializes. A panic fails the attempt, and a retry may help.
pub trait IntoHandler<Form>: Send + Sync + 'static {
    #[doc(hidden)]
    fn into_call(self) -> Call;
}

impl<F, Fut, T> IntoHandler<fn(Context)> for F
where
    F: Fn(Context) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<T, Error>> + Send + 'static,
    T: Serialize + Send + 'static,
{
    fn into_call(self) -> Call {
        Arc::new(move |context| {
            let ended = self(context);
            Box::pin(async move { to_json(ended.await?, "the result") })
        })
    }
}

impl<F, T> IntoHandler<fn(&Value)> for F
where
    F: Fn(&Value) -> Result<T, String> + Send + Sync + 'static,
    T: Serialize + 'static,
{
    fn into_call(self) -> Call {
        in_thread(move |context| self(context.inputs()))
    }
}

impl<F, T> IntoHandler<fn(&Value, &HashMap<String, Value>)> for F
where
    F: Fn(&Value, &HashMap<String, Value>) -> Result<T, String> + Send + Sync + 'static,
    T: Serialize + 'static,
{
    fn into_call(self) -> Call {
        in_thread(move |context| self(context.inputs(), context.results()))
    }
}

fn in_thread<T: Serialize>(function: impl Fn(&Context) -> Result<T, String> + Send + Sync + 'static) -> Call {
    let function = Arc::new(function);
    Arc::new(move |context| {
        let function = Arc::clone(&function);
        let call = move || to_json(function(&context).map_err(Error::permanent)?, "the result");
        Box::pin(async move {
            tokio::task::spawn_blocking(call).await.unwrap_or_else(|error| Err(panicked(error)))
        })
    })
}

/// Return the error of a handler that panicked.
pub(crate) fn panicked(error: tokio::task::JoinError) -> Error {
    let Ok(panic) = error.try_into_panic() else {
        return Error::cancelled("the handler was aborted");
    };
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    let message = text.or_else(|| panic.downcast_ref::<String>().cloned());
    Error::failed("Panic", message.unwrap_or_else(|| "the handler panicked".into()), true)
}

/// Which results of earlier steps a handler gets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Needs {
    /// Those of all steps before it.
    #[default]
    Ancestors,
    /// Those of the steps that it directly depends on.
    Parents,
    /// None.
    #[serde(rename = "none")]
    Nothing,
    /// Those of these steps.
    #[serde(untagged)]
    Steps(Vec<String>),
}

/// What the server is told about a handler.
#[derive(Debug, Clone, Default, Serialize)]
pub struct HandlerOptions {
    /// Which results it gets.
    pub needs: Needs,
    /// The namespaces that it runs for; empty: those of the worker.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// Versions of its code, or ranges of versions, for steps that require one.
    pub versions: Vec<String>,
}

/// A handler of a worker.
#[derive(Serialize)]
pub(crate) struct Handler {
    pub name: String,
    #[serde(flatten)]
    pub options: HandlerOptions,
    #[serde(skip)]
    pub call: Call,
}

impl Handler {
    /// Return the name as the server compares it.
    fn dotted_name(&self) -> String {
        self.name.replace("::", ".")
    }

    /// Return what no two handlers of a worker may have in common.
    pub fn identity(&self) -> (String, BTreeSet<&String>, BTreeSet<&String>) {
        let HandlerOptions { versions, namespaces, .. } = &self.options;
        (self.dotted_name(), versions.iter().collect(), namespaces.iter().collect())
    }
}

/// Return the handler that the server chose for a step. An older server leaves the choice to the
/// worker, which finds the handler by name and namespace, as the server does.
pub(crate) fn find<'a>(worker: &'a Registration, step: &ClaimedStep) -> Option<&'a Handler> {
    if let Some(index) = step.handler_index {
        return worker.handlers.get(index);
    }
    let namespace = &step.namespace;
    let name = step.handler.replace("::", ".");
    let prefix = format!("{namespace}.");
    let short = name.strip_prefix(&prefix).unwrap_or(&name);
    [&format!("{prefix}{name}"), name.as_str(), short].iter().find_map(|known_as| {
        worker.handlers.iter().find(|handler| {
            let own = &handler.options.namespaces;
            let mut served = if own.is_empty() { &worker.namespaces } else { own }.iter();
            served.any(|each| each == namespace || each == "*") && handler.dotted_name() == **known_as
        })
    })
}

/// Return the result of a decision: the steps to run, of those that depend on it.
pub fn choose<S: Into<String>>(steps: impl IntoIterator<Item = S>) -> Value {
    json!({"chosen": steps.into_iter().map(Into::into).collect::<Vec<String>>()})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn succeed(_: &Value) -> Result<(), String> {
        Ok(())
    }

    /// Return a worker of `shop` with handlers of one name: of version 1 and 2, and for `payments`.
    fn worker() -> Registration {
        let texts = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        let add = |versions: &[&str], namespaces: &[&str]| Handler {
            name: "refund".into(),
            options: HandlerOptions {
                versions: texts(versions),
                namespaces: texts(namespaces),
                ..HandlerOptions::default()
            },
            call: succeed.into_call(),
        };
        Registration {
            namespaces: texts(&["shop"]),
            handlers: vec![add(&["1.0.0"], &[]), add(&["2.0.0"], &["shop"]), add(&[], &["payments"])],
            ..Registration::default()
        }
    }

    fn found(handler: &str, namespace: &str, handler_index: Option<usize>) -> Option<usize> {
        let worker = worker();
        let step = ClaimedStep {
            handler: handler.into(),
            namespace: namespace.into(),
            handler_index,
            ..ClaimedStep::default()
        };
        let found = find(&worker, &step)?;
        worker.handlers.iter().position(|each| std::ptr::eq(each, found))
    }

    #[test]
    fn of_handlers_with_one_name_the_one_that_the_server_chose_is_called() {
        assert_eq!(found("refund", "shop", Some(1)), Some(1));
        assert_eq!(found("refund", "shop", Some(0)), Some(0));
        assert_eq!(found("refund", "shop", Some(3)), None);
    }

    #[test]
    fn without_a_choice_the_handler_is_found_by_name_and_namespace() {
        assert_eq!(found("refund", "shop", None), Some(0));
        assert_eq!(found("payments::refund", "payments", None), Some(2));
        assert_eq!(found("refund", "crm", None), None);
    }
}
