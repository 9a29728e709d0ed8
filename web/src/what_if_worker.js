// The planner beside the page, so that the page never waits: takes {module, request} and sends
// {done, total} now and then, then {answer} or {failure}.
let planner = null;

/// The planner asks for nothing but a place to report progress. What Emscripten's library imports
/// besides is for files and for the end of a process, which it has not.
async function start(module) {
  const imports = {};
  for (const { module: from, name } of WebAssembly.Module.imports(module)) (imports[from] ??= {})[name] = () => 0;
  imports.env.kumihimo_progress = (done, total) => postMessage({ done, total });
  const { exports } = await WebAssembly.instantiate(module, imports);
  exports._initialize();
  return exports;
}

function answer({ kumihimo_request, kumihimo_answer, memory }, request) {
  const text = new TextEncoder().encode(request);
  const place = kumihimo_request(text.length);
  new Uint8Array(memory.buffer).set(text, place);
  const begin = kumihimo_answer();
  const bytes = new Uint8Array(memory.buffer);
  return JSON.parse(new TextDecoder().decode(bytes.slice(begin, bytes.indexOf(0, begin))));
}

onmessage = async ({ data: { module, request } }) => {
  try {
    planner ??= await start(module);
    postMessage({ answer: answer(planner, request) });
  } catch (error) {
    postMessage({ failure: String(error) });
  }
};
