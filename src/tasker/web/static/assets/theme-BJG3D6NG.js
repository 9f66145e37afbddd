"use strict";(()=>{try{let t=localStorage.getItem("tasker.theme");(t==="light"||t==="dark")&&(document.documentElement.dataset.theme=t)}catch{}})();
