// Shows how far long work is, from the server's stream of events, and asks again where that breaks off.
(function () {
    const PATIENCE_MS = 5000; // so long an answer may take
    const RETRY_MS = 2000;
    const SILENCE_MS = 10000; // after so long without news, ask: a connection may be dead and not know it
    const SHOW_END_MS = 1500;
    // A browser opens six connections to a server, for all of its tabs together.
    const MOST_STREAMS = 2;
    let streamCount = 0;

    // Calls onJob(job) at every news of a job until it has ended, and onTrouble(why) while there is none to be had:
    // "lost", and for good "logged out" or "forgotten". Returns a function that ends it.
    window.followJob = (url, onJob, onTrouble = () => {}) => {
        let stream = null;
        let timer = null;
        let isOver = false;

        const rest = () => {
            clearTimeout(timer);
            if (!stream) return;
            stream.close();
            stream = null;
            streamCount -= 1;
        };
        const stop = () => {
            isOver = true;
            rest();
            document.removeEventListener("visibilitychange", attend);
            ["online", "offline"].forEach((name) => window.removeEventListener(name, look));
        };
        const hear = (job) => {
            clearTimeout(timer);
            if (job.state !== "running") stop();
            else timer = setTimeout(look, stream ? SILENCE_MS : RETRY_MS);
            onJob(job);
        };
        const listen = () => {
            if (stream || isOver || document.hidden || streamCount >= MOST_STREAMS) return;
            stream = new EventSource(`${url}/events`);
            streamCount += 1;
            stream.onmessage = (event) => hear(JSON.parse(event.data));
            stream.onerror = () => { rest(); look(); };
        };
        const fail = (status) => {
            if (status === 401 || status === 403) stop();
            if (status === 404) stop();
            else timer = setTimeout(look, RETRY_MS);
            onTrouble({ 401: "logged out", 403: "logged out", 404: "forgotten" }[status] || "lost");
        };
        async function look() {
            clearTimeout(timer);
            if (isOver || document.hidden) return;
            let status = 0;
            try {
                const answer = await fetch(url, { signal: AbortSignal.timeout(PATIENCE_MS) });
                const job = answer.ok ? await answer.json() : null;
                if (isOver || document.hidden) return;
                if (job) {
                    listen();
                    hear(job);
                    return;
                }
                status = answer.status;
            } catch { /* no answer */ }
            if (isOver || document.hidden) return;
            rest();
            fail(status);
        }
        // A page that nobody looks at holds no connection.
        const attend = () => (document.hidden ? rest() : look());

        document.addEventListener("visibilitychange", attend);
        ["online", "offline"].forEach((name) => window.addEventListener(name, look));
        if (streamCount < MOST_STREAMS && !document.hidden) {
            listen();
            timer = setTimeout(look, SILENCE_MS);
        } else attend();
        return stop;
    };

    const plural = (count, unit) => `${count} ${unit}${count === 1 ? "" : "s"}`;
    const timeOf = (seconds) => {
        if (seconds < 60) return plural(seconds < 10 ? seconds : Math.ceil(seconds / 5) * 5, "second");
        if (seconds < 5400) return plural(Math.round(seconds / 60), "minute");
        return plural(Math.round(seconds / 3600), "hour");
    };
    const numbersOf = (job) => [
        `${window.sizeOf(job.done_bytes)} of ${window.sizeOf(job.total_bytes)}`,
        job.bytes_per_second ? `${window.sizeOf(job.bytes_per_second)} a second` : "",
        job.seconds_left ? `about ${timeOf(job.seconds_left)} left` : "",
    ].filter(Boolean).join(" · ");

    // Nobody is taken away from what they do on this page.
    const isBusyPage = () => document.querySelector("[data-keep-page], .modal.show, .dropdown-menu.show")
        || document.activeElement?.matches("input:not([type=file]), select, textarea");

    class JobBox {
        constructor(box) {
            this.box = box;
            this.words = JSON.parse(box.dataset.jobWords);
            this.progress = box.querySelector("[data-job-progress]");
            this.bar = this.progress.firstElementChild;
            this.phase = box.querySelector("[data-job-phase]");
            this.numbers = box.querySelector("[data-job-numbers]");
            this.form = box.querySelector("[data-job-cancel]");
            this.form?.addEventListener("submit", (event) => this.cancel(event));
            window.followJob(box.dataset.jobUrl, (job) => this.show(job), (why) => this.showTrouble(why));
        }

        // Read aloud, so only when it changes.
        say(text) {
            if (this.phase.textContent !== text) this.phase.textContent = text;
        }

        show(job) {
            this.box.classList.remove("is-stale");
            if (job.state !== "running") {
                this.end(job);
                return;
            }
            const isCounting = job.total_bytes > 0 && job.done_bytes < job.total_bytes;
            this.say(this.words.phases[job.phase] || job.phase);
            this.numbers.textContent = isCounting ? numbersOf(job) : "";
            this.fill(isCounting ? Math.floor((100 * job.done_bytes) / job.total_bytes) : null);
        }

        fill(percent) {
            this.bar.classList.toggle("progress-bar-indeterminate", percent === null);
            this.bar.style.width = percent === null ? "" : `${percent}%`;
            document.querySelectorAll(`[data-percent-of="${this.box.dataset.jobId}"]`).forEach((place) => {
                place.textContent = percent === null ? "" : `${percent} %`;
            });
            if (percent === null) this.progress.removeAttribute("aria-valuenow");
            else this.progress.setAttribute("aria-valuenow", percent);
        }

        showTrouble(why) {
            this.box.classList.add("is-stale");
            this.numbers.textContent = "";
            if (why === "forgotten") this.leave();
            else if (why === "logged out") {
                this.say("You are logged out, so this page cannot tell how far it is. ");
                this.offer(window.location.href, "Log in again");
            } else this.say("The connection is lost. The work does not need it; trying to reach the server again…");
        }

        end(job) {
            const reason = [job.error?.detail, job.error?.hint].filter(Boolean).join(" ");
            this.form?.remove();
            this.numbers.textContent = "";
            this.fill(100);
            this.bar.classList.add({ succeeded: "bg-green", failed: "bg-red" }[job.state] || "bg-secondary");
            this.say(reason ? `${this.words[job.state]}. ${reason}` : `${this.words[job.state]}.`);
            this.box.dataset.jobState = job.state;
            setTimeout(() => this.leave(), SHOW_END_MS);
        }

        leave() {
            if (!this.box.dataset.jobDone) this.box.closest(".card").remove(); // the page shows elsewhere what became of it
            else if (isBusyPage()) this.offer(this.box.dataset.jobDone, "Show the result");
            else window.location.replace(this.box.dataset.jobDone);
        }

        offer(url, text) {
            const link = document.createElement("a");
            link.href = url;
            link.textContent = text;
            this.numbers.replaceChildren(link);
        }

        async cancel(event) {
            event.preventDefault();
            const button = event.submitter;
            button.disabled = true;
            button.textContent = "Cancelling…";
            try {
                const answer = await fetch(this.box.dataset.jobUrl, { method: "DELETE" });
                if (answer.ok || answer.status === 409) return; // the stream tells how it ended
                const { detail, hint } = await answer.json();
                this.say(`It could not be cancelled. ${detail} ${hint || ""}`);
            } catch {
                this.say("It could not be cancelled: the server cannot be reached. Try again.");
            }
            button.disabled = false;
            button.textContent = "Cancel";
        }
    }

    // For the boxes of a page, also those that come into it later.
    window.showJobs = (root) => {
        root.querySelectorAll("[data-job-url]:not([data-job-shown])").forEach((box) => {
            box.dataset.jobShown = "";
            new JobBox(box);
        });
    };
    window.showJobs(document);
})();
