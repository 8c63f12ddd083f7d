// Uploads go to the API, which streams them to the disk; the dashboard's own forms are read into memory.
(function () {
    const reasonOf = (problem) => [problem?.detail, problem?.hint].filter(Boolean).join(" ");

    // Resolves with { answer, location } once the server has all bytes; `location` is that of the job that goes on.
    // `begin` is given the function that cancels it.
    // `fields` come before the file.
    window.uploadFile = (url, file, onProgress, { headers = {}, fields = {}, begin = () => {} } = {}) => new Promise((resolve, reject) => {
        const request = new XMLHttpRequest(); // fetch() does not report the progress of an upload
        const form = new FormData();
        Object.entries(fields).forEach(([name, value]) => form.append(name, value));
        form.append("file", file, file.name);
        request.open("POST", url);
        Object.entries(headers).forEach(([name, value]) => request.setRequestHeader(name, value));
        request.responseType = "json";
        request.upload.onprogress = (event) => event.lengthComputable && onProgress(event.loaded / event.total);
        request.onerror = () => reject(new Error("The connection was lost. Try again."));
        request.onabort = () => reject(new Error("Cancelled. Nothing of it was kept."));
        request.onload = () => {
            const isGood = request.status >= 200 && request.status < 300;
            if (isGood) resolve({ answer: request.response || {}, location: request.getResponseHeader("Location") });
            else if (request.status === 401) reject(new Error("You are logged out. Log in again, then choose the file once more."));
            else reject(Object.assign(new Error(reasonOf(request.response) || "The server refused it."), { code: request.response?.code }));
        };
        begin(() => request.abort());
        request.send(form);
    });

    const zone = document.querySelector("[data-upload-zone]");
    if (!zone) return;
    const list = zone.querySelector("[data-upload-list]");
    const input = zone.querySelector("[data-upload-input]");
    // Of a page whose uploads are checked at length, as jobs.
    const phases = zone.dataset.uploadPhases ? JSON.parse(zone.dataset.uploadPhases) : null;

    class Row {
        constructor(file) {
            this.name = file.name;
            this.element = document.createElement("li");
            this.element.className = "list-group-item d-flex flex-wrap align-items-center gap-3";
            this.label = document.createElement("span");
            this.label.className = "flex-fill text-break upload-label";
            this.label.setAttribute("role", "status");
            this.bar = document.createElement("div");
            this.bar.className = "progress upload-progress";
            this.bar.setAttribute("role", "progressbar");
            this.bar.setAttribute("aria-label", `Uploading ${file.name}`);
            this.bar.append(document.createElement("div"));
            this.button = document.createElement("button");
            this.button.type = "button";
            this.button.className = "btn btn-sm";
            this.button.textContent = "Cancel";
            this.button.setAttribute("aria-label", `Cancel the upload of ${file.name}`);
            this.button.onclick = () => { this.isUnwanted = true; this.say("will be left out"); };
            this.element.append(this.label, this.bar, this.button);
            this.say("waiting");
            list.append(this.element);
        }

        say(text) {
            const whole = `${this.name}: ${text}`;
            if (this.label.textContent !== whole) this.label.textContent = whole;
        }

        // What waits for somebody, after it was refused perhaps.
        wait(text, isRefused) {
            this.bar.hidden = true;
            this.label.classList.toggle("text-danger", isRefused);
            this.say(text);
        }

        begin(text) {
            this.bar.hidden = false;
            this.label.classList.remove("text-danger");
            this.say(text);
            this.fill(0);
        }

        // Of how much is unknown, nobody knows how long it takes.
        fill(part) {
            const bar = this.bar.firstElementChild;
            bar.className = `progress-bar ${part === null ? "progress-bar-indeterminate" : ""}`;
            bar.style.width = part === null ? "" : `${Math.floor(part * 100)}%`;
            if (part === null) this.bar.removeAttribute("aria-valuenow");
            else this.bar.setAttribute("aria-valuenow", Math.floor(part * 100));
        }

        end(text, kind) {
            this.bar.remove();
            this.button.remove();
            this.label.classList.add(kind);
            this.say(text);
        }
    }

    const keyPart = zone.querySelector("[data-upload-key]");
    const keyField = keyPart?.querySelector("textarea");
    const goOn = keyPart?.querySelector("[data-upload-go-on]");
    const AGE_MAGIC = "age-encryption.org/v1\n";
    const WRONG_KEY = ["key_required", "key_wrong", "key_file_invalid"];

    const isEncrypted = async (file) => keyPart !== null && (await file.slice(0, AGE_MAGIC.length).text()) === AGE_MAGIC;

    // The key that was typed; somebody who has not is asked for it, and whose key was wrong for another.
    const findKey = (row, why) => new Promise((resolve, reject) => {
        const typed = () => keyField.value.trim();
        if (!why && (typed() || zone.dataset.uploadHasKey !== undefined)) return resolve(typed());
        row.wait(why || "it is encrypted; its key is wanted above", Boolean(why));
        const end = () => { goOn.hidden = true; goOn.onclick = null; };
        row.button.onclick = () => { end(); reject(new Error("Left out.")); };
        goOn.onclick = () => { if (typed()) { end(); resolve(typed()); } else keyField.focus(); };
        goOn.hidden = false;
        keyPart.open = true;
        keyField.focus();
    });

    async function send(file, row) {
        if (!await isEncrypted(file)) return sendOnce(file, row, {});
        for (let why = ""; ;) {
            const identity = await findKey(row, why);
            try {
                return await sendOnce(file, row, { identity });
            } catch (error) {
                if (!WRONG_KEY.includes(error.code)) throw error;
                why = error.message;
            }
        }
    }

    const sendOnce = (file, row, fields) => {
        row.begin("uploading");
        return window.uploadFile(zone.dataset.uploadUrl, file, (part) => {
            if (part >= 1) row.say("checking");
            row.fill(part < 1 ? part : null);
        }, { fields, headers: phases ? { Prefer: "respond-async" } : {}, begin: (cancel) => { row.button.onclick = cancel; } });
    };

    // The job in which the server checks an archive, until that has ended.
    const check = (url, job, row) => new Promise((resolve, reject) => {
        row.element.dataset.jobId = job.id;
        row.button.onclick = () => { row.button.disabled = true; fetch(url, { method: "DELETE" }).catch(() => { row.button.disabled = false; }); };
        window.followJob(url, (latest) => {
            if (latest.state === "succeeded") resolve(latest);
            else if (latest.state !== "running") reject(new Error(reasonOf(latest.error)));
            else {
                row.say(phases[latest.phase] || latest.phase);
                row.fill(latest.total_bytes > latest.done_bytes ? latest.done_bytes / latest.total_bytes : null);
            }
        }, (why) => {
            if (why === "lost") row.say("the connection is lost; the check does not need it, trying to reach the server again");
            else reject(new Error("How the check goes on cannot be seen any more. Load the page anew."));
        });
    });

    async function upload(file, row, onSent) {
        try {
            if (row.isUnwanted) throw new Error("Left out.");
            if (file.size > Number(zone.dataset.maxBytes)) throw new Error("It is larger than this site allows.");
            const { answer, location } = await send(file, row);
            onSent();
            const job = location ? await check(location, answer, row) : null;
            row.end(job ? `added as ${job.backup_filename}` : "uploaded", "text-success");
            return { job };
        } catch (error) {
            row.end(error.message, "text-danger");
            return null;
        }
    }

    const askBeforeLeaving = (event) => event.preventDefault();

    // What is being sent is lost with the page; what is being checked is not.
    async function uploadAll(files) {
        if (zone.dataset.keepPage !== undefined || !files.length) return;
        list.replaceChildren();
        zone.dataset.keepPage = "";
        input.disabled = true;
        window.addEventListener("beforeunload", askBeforeLeaving);
        const rows = files.map((file) => new Row(file));
        const letGo = () => window.removeEventListener("beforeunload", askBeforeLeaving);
        const results = [];
        for (const [number, file] of files.entries()) {
            const isLast = number === files.length - 1;
            results.push(await upload(file, rows[number], isLast ? letGo : () => {}));
        }
        letGo();
        delete zone.dataset.keepPage;
        input.disabled = false;
        input.value = "";
        if (keyField && results.every(Boolean)) keyField.value = "";
        finish(results);
    }

    // A page whose every upload went well shows them; or else the reasons stay to be read.
    function finish(results) {
        const there = zone.dataset.uploadDone || window.location.pathname;
        const jobs = results.map((result) => result?.job).filter(Boolean);
        if (results.every(Boolean)) {
            window.location.assign(jobs.length === 1 ? `${there}?job=${jobs[0].id}` : there);
        } else if (results.some(Boolean)) {
            const link = document.createElement("a");
            link.className = "list-group-item list-group-item-action";
            link.href = there;
            link.textContent = "Show what was added";
            const row = document.createElement("li");
            row.append(link);
            list.append(row);
        }
    }

    input.addEventListener("change", (event) => uploadAll([...event.target.files]));
    uploadAll([...input.files]); // chosen while this script was still on its way
    zone.addEventListener("dragover", (event) => { event.preventDefault(); zone.classList.add("is-over"); });
    zone.addEventListener("dragleave", () => zone.classList.remove("is-over"));
    zone.addEventListener("drop", (event) => {
        event.preventDefault();
        zone.classList.remove("is-over");
        uploadAll([...event.dataTransfer.files]);
    });
})();
