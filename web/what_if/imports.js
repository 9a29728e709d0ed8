// Tells Emscripten's linker what the page itself provides (web/src/what_if_worker.js).
mergeInto(LibraryManager.library, { kumihimo_progress() {} });
