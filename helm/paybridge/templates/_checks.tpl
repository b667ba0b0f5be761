{{/*
What must hold between values, which the schema cannot say in a sentence that helps. Renders nothing.
*/}}

{{- define "paybridge.checks" -}}
{{- include "paybridge.checks.names" . -}}
{{- include "paybridge.checks.present" . -}}
{{- include "paybridge.checks.parts" . -}}
{{- include "paybridge.checks.sources" . -}}
{{- include "paybridge.checks.kafka" . -}}
{{- include "paybridge.checks.kubernetes" . -}}
{{- include "paybridge.checks.spool" . -}}
{{- end -}}

{{/* A Service's name is the strictest of all. */}}
{{- define "paybridge.checks.names" -}}
{{- $fullname := include "paybridge.fullname" . -}}
{{- if not (regexMatch "^[a-z]([a-z0-9-]*[a-z0-9])?$" $fullname) -}}
{{- fail (printf "objects would be named %q, but a Service's name has lower-case letters, digits and hyphens only, and begins with a letter: set fullnameOverride" $fullname) -}}
{{- end -}}
{{- if not (regexMatch "^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$" (include "paybridge.name" .)) -}}
{{- fail (printf "nameOverride is %q, which cannot be a label's value: use letters, digits and hyphens" .Values.nameOverride) -}}
{{- end -}}
{{- end -}}

{{/* A null takes a default away, and Kubernetes has its own for some. The schema cannot say so for `workload`, as `split` shares its shape. */}}
{{- define "paybridge.checks.present" -}}
{{- range $path := list "replicas" "podDisruptionBudget.enabled" "podDisruptionBudget.maxUnavailable" "autoscaling.type" "autoscaling.minReplicas" "autoscaling.maxReplicas" "autoscaling.hpa.targetCPUUtilizationPercentage" "autoscaling.keda.pollingInterval" "autoscaling.keda.cooldownPeriod" -}}
{{- $value := $.Values.workload -}}
{{- range $key := splitList "." $path -}}
{{- $value = get ($value | default dict) $key -}}
{{- end -}}
{{- if or (kindIs "invalid" $value) (eq (toString $value) "") -}}
{{- fail (printf "workload.%s is null: leave it out, and it has its default" $path) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "paybridge.checks.parts" -}}
{{- range $part := list "ingress" "admin" -}}
{{- $listen := (get $.Values $part).listen -}}
{{- if regexMatch "^(127\\.|\\[::1\\]|localhost:)" $listen -}}
{{- fail (printf "%s.listen is %q, which nobody outside the pod reaches, the kubelet's probes neither: use 0.0.0.0, or [::] where pods have IPv6 addresses" $part $listen) -}}
{{- end -}}
{{- end -}}
{{- range $part := list "ingress" "admin" -}}
{{- $port := include "paybridge.port" (get $.Values $part).listen | int64 -}}
{{- if or (lt $port 1) (gt $port 65535) -}}
{{- fail (printf "%s.listen is %q, but a port is 1 to 65535" $part (get $.Values $part).listen) -}}
{{- end -}}
{{- end -}}
{{- if eq (include "paybridge.port" .Values.ingress.listen) (include "paybridge.port" .Values.admin.listen) -}}
{{- fail (printf "ingress.listen and admin.listen have the same port, %s: give them two" (include "paybridge.port" .Values.admin.listen)) -}}
{{- end -}}
{{- if and (eq .Values.mode "split") (not .Values.confirmation.enabled) -}}
{{- fail "mode is split, but confirmation.enabled is false: there is no engine to run apart; set mode to combined, or enable the engine" -}}
{{- end -}}
{{- if and (eq .Values.mode "split") (not .Values.ingress.enabled) -}}
{{- fail "mode is split, but ingress.enabled is false: for an engine alone set mode to combined" -}}
{{- end -}}
{{- if not (or .Values.ingress.enabled .Values.confirmation.enabled) -}}
{{- fail "ingress.enabled and confirmation.enabled are both false: there is nothing to run" -}}
{{- end -}}
{{- if and .Values.ingress.tls.existingSecret (not .Values.ingress.tls.enabled) -}}
{{- fail "ingress.tls.existingSecret names a Secret, but ingress.tls.enabled is false: webhooks would come in the clear; set it, or leave the Secret out" -}}
{{- end -}}
{{- if and .Values.ingress.tls.enabled (not .Values.ingress.tls.existingSecret) -}}
{{- range $key := list "certFile" "keyFile" "clientCaFile" -}}
{{- $file := get $.Values.ingress.tls $key -}}
{{- if and $file (not (hasPrefix "/" $file)) -}}
{{- fail "ingress.tls.enabled is true, but ingress.tls.existingSecret is empty: name the Secret with the certificate" -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "paybridge.checks.sources" -}}
{{- if not .Values.sources -}}
{{- fail "sources is empty: name at least one sender of webhooks, such as sources.sg-main; values.yaml shows one of each provider" -}}
{{- end -}}
{{- $asking := list -}}
{{- range $name, $source := .Values.sources -}}
{{- range $index, $file := $source.secretFiles -}}
{{- if hasPrefix "whsec_" $file -}}
{{- fail (printf "sources.%s.secretFiles.%d is a secret and not a file's name: put it into a Secret, and name its key here; and make a new one, for this one stands in your values" $name $index) -}}
{{- end -}}
{{- end -}}
{{- if and (kindIs "slice" $source.allowFrom) (not $source.allowFrom) -}}
{{- fail (printf "sources.%s.allowFrom is an empty list, which lets everybody send: leave it out for that, or name the provider's addresses" $name) -}}
{{- end -}}
{{- if and $source.existingSecret $source.volume -}}
{{- fail (printf "sources.%s has existingSecret and volume: give one of the two" $name) -}}
{{- end -}}
{{- include "paybridge.checks.sender" (dict "root" $ "name" $name "source" $source) -}}
{{- if and $source.api (ne $source.provider "smart-glocal") -}}
{{- fail (printf "sources.%s has an api, which only sources of smart-glocal have: remove it" $name) -}}
{{- end -}}
{{- if eq $source.provider "smart-glocal" -}}
{{- $asking = append $asking $name -}}
{{- if and $.Values.confirmation.enabled (not $.Values.confirmation.dryRun) (not $source.api) -}}
{{- fail (printf "confirmation.enabled is true, but sources.%s has no api: the engine could not call its provider; add sources.%s.api, or set confirmation.dryRun" $name $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and .Values.confirmation.enabled (not $asking) -}}
{{- fail "confirmation.enabled is true, but no source is of smart-glocal: nobody asks for confirmations" -}}
{{- end -}}
{{- with .Values.helmTest.source -}}
{{- if not (hasKey $.Values.sources .) -}}
{{- fail (printf "helmTest.source is %q, which is none of the sources: %s" . (keys $.Values.sources | sortAlpha | join ", ")) -}}
{{- end -}}
{{- $source := get $.Values.sources . -}}
{{- $tables := (include "paybridge.sender" (dict "root" $ "name" . "source" $source) | fromJson).tables -}}
{{- if and $source.publicKeyFiles (not $.Values.helmTest.signingKeyFile) -}}
{{- fail (printf "helmTest.source is of %s, whose webhooks only the provider can sign: name another source, or a key of your own with helmTest.signingKeyFile" $source.provider) -}}
{{- end -}}
{{- if ($tables.event | default dict).each -}}
{{- fail (printf "helmTest.source is %q, of whose events a webhook carries several, and the answer names none of them: name another source" .) -}}
{{- end -}}
{{- if not (include "paybridge.webhooksComponent" $) -}}
{{- fail "helmTest.source is set, but ingress.enabled is false: nobody would take the webhook" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Takes {root, name, source}. */}}
{{- define "paybridge.checks.sender" -}}
{{- $source := .source -}}
{{- $sender := include "paybridge.sender" . | fromJson -}}
{{- $signature := $sender.tables.signature | default dict -}}
{{- if $sender.described -}}
{{- if not $signature.algorithm -}}
{{- fail (printf "sources.%s has no signature.algorithm: say how its sender signs; docs/providers.md has every key" .name) -}}
{{- end -}}
{{- if and (eq $source.provider "custom") (not $signature.from) -}}
{{- fail (printf "sources.%s has no signature.from: say where the signature is, such as header:x-signature" .name) -}}
{{- end -}}
{{- if and (ne $signature.algorithm "token") (not $signature.signed) -}}
{{- fail (printf "sources.%s has no signature.signed: write what is signed, such as \"{body}\"" .name) -}}
{{- end -}}
{{- $symmetric := or (hasPrefix "hmac-" $signature.algorithm) (eq $signature.algorithm "token") -}}
{{- $files := ternary (list "secretFiles" "publicKeyFiles" "shared secret") (list "publicKeyFiles" "secretFiles" "sender's public key") $symmetric -}}
{{- if not (get $source (index $files 0)) -}}
{{- fail (printf "sources.%s has no %s: with %s, name at least one file with the %s" .name (index $files 0) $signature.algorithm (index $files 2)) -}}
{{- end -}}
{{- if hasKey $source (index $files 1) -}}
{{- fail (printf "sources.%s has %s, which does not belong to %s: use %s" .name (index $files 1) $signature.algorithm (index $files 0)) -}}
{{- end -}}
{{- $signsBody := ne $signature.algorithm "token" -}}
{{- range $template := (include "paybridge.signedTemplates" $sender | fromJson).templates -}}
{{- if and (contains "{url}" $template) (not $signature.url) -}}
{{- fail (printf "sources.%s is of a sender that signs the URL, and has no signature.url: write the URL there as it is registered at the sender" $.name) -}}
{{- end -}}
{{- if not (contains "{body}" $template) -}}
{{- $signsBody = false -}}
{{- end -}}
{{- end -}}
{{- if not (or $signsBody (include "paybridge.keepsStrangersOut" .)) -}}
{{- fail (printf "sources.%s is of a sender that does not sign the body, so that whoever has seen one webhook could send others: set allowFrom, a path with a secret part, or clientCertNames" .name) -}}
{{- end -}}
{{- if and (ne $sender.group $source.provider) (has $sender.group (include "paybridge.topicGroups" .root | fromJson).names) -}}
{{- fail (printf "sources.%s would give its topics the names of %q: %s" .name $sender.group (ternary "use another word as its topicPart" "give the source another name, or set its topicPart" (not (empty $source.topicPart)))) -}}
{{- end -}}
{{- end -}}
{{- if and (eq ($source.onUnverified | default "reject") "keep") (not (include "paybridge.keepsStrangersOut" .)) -}}
{{- fail (printf "sources.%s.onUnverified is keep, which would keep what strangers send: set allowFrom, a path with a secret part, or clientCertNames" .name) -}}
{{- end -}}
{{- end -}}

{{- define "paybridge.checks.kafka" -}}
{{- if not .Values.kafka.bootstrapServers -}}
{{- fail "kafka.bootstrapServers is empty: name the brokers as host:port, joined by commas" -}}
{{- end -}}
{{- $properties := dict "kafka.properties" .Values.kafka.properties "kafka.ingress.properties" .Values.kafka.ingress.properties "kafka.engine.properties" .Values.kafka.engine.properties -}}
{{- range $part, $table := $properties -}}
{{- range $name, $_ := $table -}}
{{- if regexMatch "(password|secret|passphrase|key\\.pem)$" $name -}}
{{- fail (printf "%s has %q, which is a secret and would stand in a ConfigMap: use kafka.auth, or kafka.propertyFiles with a file of workload.volumes" $part $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $auth := .Values.kafka.auth -}}
{{- /* Whether there is a user or a Secret does not hang on the workload. */ -}}
{{- $workload := dict "root" . "ingress" true -}}
{{- if and (ne $auth.type "none") (not (include "paybridge.kafkaUserSecret" $workload)) -}}
{{- fail (printf "kafka.auth.type is %s, but kafka.auth.existingSecret is empty: name the Secret with our credentials, or let strimzi.user make one" $auth.type) -}}
{{- end -}}
{{- if and (eq $auth.type "scram") (not (include "paybridge.kafkaUsername" $workload)) -}}
{{- fail "kafka.auth.type is scram, but kafka.auth.username is empty: name the user" -}}
{{- end -}}
{{- if and $auth.ca.existingSecret $auth.ca.existingConfigMap -}}
{{- fail "kafka.auth.ca has existingSecret and existingConfigMap: give one of the two" -}}
{{- end -}}
{{- if and (include "paybridge.kafkaCaSource" .) (or (eq $auth.type "none") (and (eq $auth.type "scram") (not $auth.encrypted))) -}}
{{- if not (regexMatch "(?i)^(sasl_)?ssl$" (get (.Values.kafka.properties | default dict) "security.protocol" | toString)) -}}
{{- fail "kafka.auth.ca says whose certificates are believed, but the connection to Kafka is not encrypted: set kafka.auth.encrypted, or with kafka.auth.type none kafka.properties: {security.protocol: ssl}" -}}
{{- end -}}
{{- end -}}
{{- if and .Values.strimzi.enabled (not .Values.strimzi.cluster) -}}
{{- fail "strimzi.enabled is true, but strimzi.cluster is empty: name the Kafka resource" -}}
{{- end -}}
{{- $strimziUser := include "paybridge.strimziUser" $workload -}}
{{- if and $strimziUser (eq $auth.type "none") -}}
{{- fail "strimzi.user.enabled is true, but kafka.auth.type is none: set it to scram or tls, which is the user's authentication" -}}
{{- end -}}
{{- if and $strimziUser (eq .Values.mode "split") (or $auth.username $auth.existingSecret) -}}
{{- fail "kafka.auth names one user or Secret, but with mode: split Strimzi makes a user for each of the two workloads: leave out kafka.auth.username and kafka.auth.existingSecret" -}}
{{- end -}}
{{- if and $strimziUser (eq $auth.type "scram") (ne (include "paybridge.kafkaUsername" $workload) $strimziUser) -}}
{{- fail "kafka.auth.username is not the name of Strimzi's user: leave it out" -}}
{{- end -}}
{{- if and $strimziUser (eq $auth.type "scram") (ne $auth.mechanism "SCRAM-SHA-512") -}}
{{- fail "kafka.auth.mechanism must be SCRAM-SHA-512: Strimzi's users have no other" -}}
{{- end -}}
{{- end -}}

{{- define "paybridge.checks.kubernetes" -}}
{{- if and .Values.monitoring.podMonitor.enabled .Values.monitoring.serviceMonitor.enabled -}}
{{- fail "monitoring.podMonitor and monitoring.serviceMonitor are both enabled: every series would be there twice; enable one of the two" -}}
{{- end -}}
{{- if and (or .Values.kubernetesIngress.enabled .Values.httpRoute.enabled) (not (include "paybridge.webhooksComponent" .)) -}}
{{- fail "kubernetesIngress or httpRoute is enabled, but ingress.enabled is false: nobody would take the webhooks" -}}
{{- end -}}
{{- if and .Values.kubernetesIngress.enabled (not .Values.kubernetesIngress.host) -}}
{{- fail "kubernetesIngress.enabled is true, but kubernetesIngress.host is empty: name the host that providers send to" -}}
{{- end -}}
{{- if and .Values.httpRoute.enabled (not .Values.httpRoute.parentRefs) -}}
{{- fail "httpRoute.enabled is true, but httpRoute.parentRefs is empty: name the Gateway" -}}
{{- end -}}
{{- if and .Values.check.createTopics .Values.strimzi.enabled .Values.strimzi.topics.enabled -}}
{{- fail "check.createTopics and strimzi.topics.enabled are both true: topics have one owner; disable one of the two" -}}
{{- end -}}
{{- if and .Values.serviceAccount.create .Values.check.enabled (eq (include "paybridge.serviceAccountName" .) (include "paybridge.checkAccountName" .)) -}}
{{- fail (printf "serviceAccount.name is %q, which is the name of the check's account: use another" .Values.serviceAccount.name) -}}
{{- end -}}
{{- range (include "paybridge.workloads" . | fromJson).workloads -}}
{{- range $label, $_ := .settings.podLabels -}}
{{- if has $label (list "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/component" "app.kubernetes.io/version") -}}
{{- fail (printf "workload.podLabels has %s, which the chart sets and selects pods by: use another name" $label) -}}
{{- end -}}
{{- end -}}
{{- range $variable := .settings.env -}}
{{- if and $variable.value (regexMatch "(?i)(PASSWORD|SECRET|PASSPHRASE|KEY__PEM)$" $variable.name) -}}
{{- fail (printf "workload.env has a value for %s, which is a secret and would stand in the Deployment: use valueFrom with a secretKeyRef, or kafka.auth" $variable.name) -}}
{{- end -}}
{{- end -}}
{{- $autoscaling := .settings.autoscaling -}}
{{- if gt (int64 $autoscaling.minReplicas) (int64 $autoscaling.maxReplicas) -}}
{{- fail (printf "autoscaling.minReplicas of the %s is %d, more than its maxReplicas, %d" .component (int64 $autoscaling.minReplicas) (int64 $autoscaling.maxReplicas)) -}}
{{- end -}}
{{- if and (eq $autoscaling.type "keda") (not $autoscaling.keda.triggers) -}}
{{- fail (printf "autoscaling.type of the %s is keda, but autoscaling.keda.triggers is empty: say what it scales by" .component) -}}
{{- end -}}
{{- if and (eq .component "engine") (ne $autoscaling.type "none") (gt (int64 $autoscaling.maxReplicas) (int64 $.Values.kafka.partitions)) -}}
{{- fail (printf "autoscaling.maxReplicas of the engine is %d, but there are %d partitions: more engines than partitions have nothing to do" (int64 $autoscaling.maxReplicas) (int64 $.Values.kafka.partitions)) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "paybridge.checks.spool" -}}
{{- $spool := .Values.spool -}}
{{- if regexMatch "^/(etc|paybridge)(/|$)" (include "paybridge.spoolMountPath" .) -}}
{{- fail (printf "spool.directory is %q, and a disk at %s would hide the daemon or its configuration: use another folder" $spool.directory (include "paybridge.spoolMountPath" .)) -}}
{{- end -}}
{{- if and $spool.enabled (not .Values.ingress.enabled) -}}
{{- fail "spool.enabled is true, but ingress.enabled is false: no pod would write to the spool, and none would publish what is in it" -}}
{{- end -}}
{{- $size := include "paybridge.bytes" $spool.volume.size | float64 -}}
{{- $least := mulf $spool.bytesMax 1.1 -}}
{{- if and $spool.enabled (lt $size $least) -}}
{{- fail (printf "spool.volume.size is %s, but the spool may take spool.bytesMax, %d bytes, and its file system a tenth more: make the volume %dMi or larger, or spool.bytesMax smaller" $spool.volume.size (int64 $spool.bytesMax) (ceil (divf $least 1048576) | int64)) -}}
{{- end -}}
{{- range $workload := (include "paybridge.workloads" . | fromJson).workloads -}}
{{- if .spool -}}
{{- if ne .settings.autoscaling.type "none" -}}
{{- fail (printf "autoscaling.type of the %s is %s, but with spool.enabled each of its pods has a disk: webhooks on the disk of a pod that is scaled away would wait for people; use none, and replicas" .component .settings.autoscaling.type) -}}
{{- end -}}
{{- /* Of the name and ten digits Kubernetes makes a label of each pod. */ -}}
{{- if gt (len .name) 52 -}}
{{- fail (printf "the StatefulSet would be named %q, of %d characters, and at most 52 are possible: set a shorter fullnameOverride" .name (len .name)) -}}
{{- end -}}
{{- range $number := until (int .settings.replicas) -}}
{{- $claim := printf "spool-%s-%d" $workload.name $number -}}
{{- if has $claim $spool.drainClaims -}}
{{- fail (printf "spool.drainClaims has %q, the claim of a pod that runs and publishes what is on it by itself: drain claims of pods that are gone" $claim) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* A quantity of Kubernetes as a number of bytes. */}}
{{- define "paybridge.bytes" -}}
{{- $units := dict "" 1 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 -}}
{{- mulf (regexFind "^[0-9.]+" . | float64) (get $units (regexFind "[A-Za-z]*$" .)) -}}
{{- end -}}
